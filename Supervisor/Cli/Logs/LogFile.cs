using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;
using Shim.Interop;

namespace Supervisor.Cli.Logs;

/// <summary>One file of an output, held open: whatever it is renamed to, and when it is deleted, it stays this file, and no other can be taken for it.</summary>
internal sealed class LogFile : IDisposable
{
    private readonly SafeFileHandle _handle;
    private readonly ulong _device;
    private readonly ulong _inode;

    private LogFile(SafeFileHandle handle, Stat status) => (_handle, _device, _inode) = (handle, status.st_dev, status.st_ino);

    /// <summary>Opens a regular file; null when there is none of that name.</summary>
    internal static LogFile? TryOpen(string path)
    {
        SafeFileHandle handle;
        try
        {
            // Not to wait for the writer of a FIFO that has taken the name.
            handle = Fd.Open(path, Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_NOCTTY);
        }
        catch (NativeException e) when (e.Number == Shim.Interop.Errno.ENOENT)
        {
            return null;
        }
        catch (NativeException e)
        {
            throw new CliException($"cannot read {path}: {e.Message}");
        }

        var status = StatusOf(handle);
        if ((status.st_mode & FilePermissions.S_IFMT) == FilePermissions.S_IFREG)
        {
            return new LogFile(handle, status);
        }

        handle.Dispose();
        throw new CliException($"cannot read {path}: it is not a regular file");
    }

    /// <summary>How long it is now.</summary>
    internal long Length => StatusOf(_handle).st_size;

    /// <summary>Whether it still has a name, any name.</summary>
    internal bool HasName => StatusOf(_handle).st_nlink > 0;

    /// <summary>Whether <paramref name="path"/> names this very file now.</summary>
    internal bool IsAt(string path) => Syscall.stat(path, out var status) == 0 && Is(status);

    internal bool IsSameAs(LogFile other) => (_device, _inode) == (other._device, other._inode);

    /// <summary>Reads from <paramref name="offset"/> on; 0 at the end.</summary>
    internal int Read(Span<byte> buffer, long offset) => RandomAccess.Read(_handle, buffer, offset);

    /// <summary>Whether process <paramref name="pid"/> has this file open. Only root may ask for others'.</summary>
    internal bool IsOpenIn(uint pid)
    {
        try
        {
            foreach (var descriptor in Directory.EnumerateFileSystemEntries(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/fd")))
            {
                if (Syscall.stat(descriptor, out var status) == 0 && Is(status))
                {
                    return true;
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The process has ended.
        }

        return false;
    }

    public void Dispose() => _handle.Dispose();

    private bool Is(Stat status) => (status.st_dev, status.st_ino) == (_device, _inode);

    private static Stat StatusOf(SafeFileHandle handle) =>
        Syscall.fstat(Fd.Number(handle), out var status) == 0 ? status : throw new CliException($"fstat: {Stdlib.strerror(Stdlib.GetLastError())}");
}
