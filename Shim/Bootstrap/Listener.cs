using System.Net.Sockets;
using Shim.Interop;

namespace Shim.Bootstrap;

/// <summary>The listening socket: inherited from the supervisor, or bound here.</summary>
internal sealed class Listener
{
    private const int MaxSocketPath = 107;
    private const int Backlog = 128;

    // Octal 177: a socket is made with mode 777, and the owner needs no more than to read and write.
    private const uint OwnerOnly = 0x7F;

    private Listener(Socket socket, string? path) => (Socket, Path) = (socket, path);

    /// <summary>Listens. It is never disposed of: .NET would remove the name with it, which may be a successor's by then.</summary>
    internal Socket Socket { get; }

    /// <summary>What was bound here; null for an inherited socket, which is its owner's to remove.</summary>
    internal string? Path { get; }

    internal static Listener Open(ServeOptions options)
    {
        if (options.ListenFd is { } inherited)
        {
            // No child may inherit it in turn.
            return Libc.Fcntl(inherited, Libc.F_SETFD, Libc.FD_CLOEXEC) == 0
                ? new Listener(new Socket(new SafeSocketHandle(inherited, ownsHandle: true)), null)
                : throw new FormatException($"--listen-fd {inherited}: there is no such descriptor");
        }

        var path = System.IO.Path.GetFullPath(options.Socket ?? "shim.sock");
        if (System.Text.Encoding.UTF8.GetByteCount(path) > MaxSocketPath)
        {
            throw new FormatException($"the socket path {path} is longer than {MaxSocketPath} bytes, which is all that a unix socket can have");
        }

        RemoveStale(path);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var umask = Libc.Umask(OwnerOnly);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(path));
        }
        finally
        {
            _ = Libc.Umask(umask);
        }

        socket.Listen(Backlog);
        return new Listener(socket, path);
    }

    /// <summary>Removes the socket file that was bound here.</summary>
    internal void Remove()
    {
        if (Path is not null)
        {
            File.Delete(Path);
        }
    }

    // A socket file outlives its server. Nobody accepts on it any more? Then it is only in the way.
    private static void RemoveStale(string path)
    {
        if (Libc.KindOf(path, followLinks: false) != FileKind.Socket)
        {
            return;
        }

        // Not blocking: the server may be stopped, with its queue full. That is an answer too.
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
            return;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            // Falls through to the refusal.
        }

        throw new InvalidOperationException($"another process listens on {path}");
    }
}
