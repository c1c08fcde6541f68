using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

/// <summary>Unix stream sockets, none of which ever blocks. What there is to wait for is -1 here; all other errors are NativeException.</summary>
internal static unsafe class UnixSockets
{
    private const int Flags = Libc.SOCK_NONBLOCK | Libc.SOCK_CLOEXEC;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Binds a socket that only its owner may connect to, and listens. The name is the caller's to remove.</summary>
    internal static SafeFileHandle Listen(string path, int backlog)
    {
        var handle = New();
        try
        {
            // The mode that the open socket has is the one that its name gets at bind: at no time can anybody else connect.
            File.SetUnixFileMode(handle, OwnerOnly);
            var address = AddressOf("bind", path);
            if (Libc.Bind(handle, &address, (uint)sizeof(Libc.UnixAddress)) == -1)
            {
                throw Errno.Exception("bind", path);
            }

            return Libc.Listen(handle, backlog) == 0 ? handle : throw Errno.Exception("listen", path);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Connects. Where a listener's queue is full, that is an error (EAGAIN).</summary>
    internal static SafeFileHandle Connect(string path)
    {
        var handle = New();
        try
        {
            return TryConnect(handle, path) ? handle : throw Errno.Exception("connect", path);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Whether a socket is somebody's: only a refusal says that it is not. One that is stopped, with its queue full, or that speaks in datagrams, has its owner.
    /// </summary>
    internal static bool IsServed(string path)
    {
        using var probe = New();
        return TryConnect(probe, path) || Errno.Last is not (Errno.ECONNREFUSED or Errno.ENOENT);
    }

    /// <summary>The next connection's descriptor, or -1.</summary>
    internal static int Accept(SafeFileHandle listener)
    {
        int fd;
        do
        {
            fd = Libc.Accept(listener, null, null, Flags);
        }
        while (fd == -1 && Errno.Last == Errno.EINTR);
        return fd >= 0 || Errno.Last == Errno.EAGAIN ? fd : throw Errno.Exception("accept");
    }

    /// <summary>How many bytes were received, 0 at the end of the connection, or -1.</summary>
    internal static int Receive(SafeFileHandle socket, Span<byte> buffer, int flags = 0)
    {
        fixed (byte* bytes = buffer)
        {
            nint count;
            do
            {
                count = Libc.Receive(socket, bytes, (nuint)buffer.Length, flags);
            }
            while (count == -1 && Errno.Last == Errno.EINTR);
            return count >= 0 || Errno.Last == Errno.EAGAIN ? (int)count : throw Errno.Exception("recv");
        }
    }

    /// <summary>Whether a receive would not be -1.</summary>
    internal static bool HasInput(SafeFileHandle socket) => Receive(socket, stackalloc byte[1], Libc.MSG_PEEK) >= 0;

    /// <summary>How many bytes found room, or -1. A peer that is gone is an error, never a signal.</summary>
    internal static int Send(SafeFileHandle socket, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* bytes = buffer)
        {
            nint count;
            do
            {
                count = Libc.Send(socket, bytes, (nuint)buffer.Length, Libc.MSG_NOSIGNAL);
            }
            while (count == -1 && Errno.Last == Errno.EINTR);
            return count >= 0 || Errno.Last == Errno.EAGAIN ? (int)count : throw Errno.Exception("send");
        }
    }

    /// <summary>Who has connected, as the kernel has seen it then.</summary>
    internal static Libc.PeerCredentials PeerOf(SafeHandle socket)
    {
        Libc.PeerCredentials peer;
        var length = (uint)sizeof(Libc.PeerCredentials);
        return Libc.GetSocketOption(socket, Libc.SOL_SOCKET, Libc.SO_PEERCRED, &peer, &length) == 0 ? peer : throw Errno.Exception("getsockopt SO_PEERCRED");
    }

    private static SafeFileHandle New() => Fd.Own(Libc.Socket(Libc.AF_UNIX, Libc.SOCK_STREAM | Flags, 0), "socket");

    private static bool TryConnect(SafeFileHandle handle, string path)
    {
        var address = AddressOf("connect", path);
        return Libc.Connect(handle, &address, (uint)sizeof(Libc.UnixAddress)) == 0;
    }

    private static Libc.UnixAddress AddressOf(string call, string path)
    {
        var address = new Libc.UnixAddress { Family = Libc.AF_UNIX };
        return System.Text.Encoding.UTF8.TryGetBytes(path, new Span<byte>(address.Path, Libc.MaxSocketPath), out _)
            ? address
            : throw new NativeException(call, Errno.ENAMETOOLONG, path);
    }
}
