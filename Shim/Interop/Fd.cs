using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

/// <summary>Turns the raw descriptors that libc returns into owned handles, in the line where they are born.</summary>
internal static class Fd
{
    /// <summary>Owns <paramref name="fd"/>, or throws the error of <paramref name="call"/> when it is -1.</summary>
    internal static SafeFileHandle Own(int fd, string call, string? subject = null) =>
        fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Errno.Exception(call, subject);

    /// <summary>The number behind an open handle. The caller keeps the handle alive while it uses the number.</summary>
    internal static int Number(SafeHandle handle)
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, handle);
        return (int)handle.DangerousGetHandle();
    }

    /// <summary>Opens <paramref name="path"/> close-on-exec. <paramref name="mode"/> counts only with O_CREAT.</summary>
    internal static SafeFileHandle Open(string path, int flags, uint mode = 0)
    {
        int fd;
        do
        {
            fd = Libc.Open(path, flags | Libc.O_CLOEXEC, mode);
        }
        while (fd == -1 && Errno.Last == Errno.EINTR);
        return Own(fd, "open", path);
    }

    /// <summary>A second descriptor for the same open file, close-on-exec.</summary>
    internal static SafeFileHandle Duplicate(SafeHandle handle) =>
        Own(Libc.Fcntl(Number(handle), Libc.F_DUPFD_CLOEXEC, 3), "fcntl F_DUPFD_CLOEXEC");

    /// <summary>Switches O_NONBLOCK on the open file description, which every holder of a duplicate shares.</summary>
    internal static void SetNonBlocking(SafeHandle handle, bool nonBlocking)
    {
        var fd = Number(handle);
        var flags = Libc.Fcntl(fd, Libc.F_GETFL, 0);
        if (flags == -1 || Libc.Fcntl(fd, Libc.F_SETFL, nonBlocking ? flags | Libc.O_NONBLOCK : flags & ~Libc.O_NONBLOCK) == -1)
        {
            throw Errno.Exception("fcntl F_SETFL");
        }
    }

    /// <summary>
    /// Reads what is there. 0 is end of file; -1 is an error, see <see cref="Errno.Last"/>. Retries EINTR.
    /// </summary>
    internal static unsafe int Read(SafeHandle handle, Span<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            nint count;
            do
            {
                count = Libc.Read(Number(handle), bytes, (nuint)buffer.Length);
            }
            while (count == -1 && Errno.Last == Errno.EINTR);
            return (int)count;
        }
    }

    /// <summary>
    /// A whole file as text, or null when it cannot be opened or read. For the small ones of /proc and of cgroups, which are read often: the framework's own
    /// way would leave 20 KB of buffers in its pools.
    /// </summary>
    internal static string? ReadText(string path)
    {
        int fd;
        do
        {
            fd = Libc.Open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        }
        while (fd == -1 && Errno.Last == Errno.EINTR);
        if (fd == -1)
        {
            return null;
        }

        using var file = new SafeFileHandle(fd, ownsHandle: true);
        Span<byte> text = stackalloc byte[2048];
        for (var end = 0; ;)
        {
            var count = Read(file, text[end..]);
            if (count <= 0)
            {
                return count == 0 ? System.Text.Encoding.UTF8.GetString(text[..end]) : null;
            }

            end += count;
            if (end == text.Length)
            {
                var larger = new byte[text.Length * 2];
                text.CopyTo(larger);
                text = larger;
            }
        }
    }

    /// <summary>Writes what fits. -1 is an error, see <see cref="Errno.Last"/>. Retries EINTR.</summary>
    internal static unsafe int Write(SafeHandle handle, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            nint count;
            do
            {
                count = Libc.Write(Number(handle), bytes, (nuint)buffer.Length);
            }
            while (count == -1 && Errno.Last == Errno.EINTR);
            return (int)count;
        }
    }

    /// <summary>Whether a write of up to PIPE_BUF bytes would not block now.</summary>
    internal static unsafe bool IsWritable(SafeHandle handle)
    {
        var poll = new Libc.PollFd { Descriptor = Number(handle), Events = Libc.POLLOUT };
        return Libc.Poll(&poll, 1, 0) == 1 && (poll.Returned & Libc.POLLOUT) != 0;
    }

    /// <summary>Writes everything to a blocking descriptor, or throws.</summary>
    internal static void WriteAll(SafeHandle handle, ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = Write(handle, buffer);
            if (count < 0)
            {
                throw Errno.Exception("write");
            }

            buffer = buffer[count..];
        }
    }

    /// <summary>Bytes that wait to be read from a pipe, FIFO or terminal.</summary>
    internal static unsafe int BytesAvailable(SafeHandle handle)
    {
        int count;
        return Libc.Ioctl(Number(handle), Libc.FIONREAD, &count) == 0 ? count : throw Errno.Exception("ioctl FIONREAD");
    }

    /// <summary>An anonymous in-memory file, close-on-exec; others of this machine's root reach it as /proc/PID/fd/N.</summary>
    internal static SafeFileHandle Memory(string name) => Own(Libc.MemFdCreate(name, Libc.MFD_CLOEXEC), "memfd_create", name);
}
