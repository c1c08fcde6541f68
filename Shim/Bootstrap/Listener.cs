using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Bootstrap;

/// <summary>The listening socket: inherited from the supervisor, or bound here.</summary>
internal sealed class Listener
{
    private const int Backlog = 128;

    private Listener(SafeFileHandle handle, string? path) => (Socket, Path) = (new UnixSocket(handle), path);

    /// <summary>Listens.</summary>
    internal UnixSocket Socket { get; }

    /// <summary>What was bound here; null for an inherited socket, which is its owner's to remove.</summary>
    internal string? Path { get; }

    internal static Listener Open(ServeOptions options) =>
        options.ListenFd is { } inherited ? Inherit(inherited) ?? throw new FormatException($"--listen-fd {inherited}: there is no such descriptor") : Bind(options.Socket ?? "shim.sock");

    /// <summary>A listening socket that the parent has bound; null when there is no such descriptor.</summary>
    internal static Listener? Inherit(int descriptor) =>
        // No child may inherit it in turn.
        Libc.Fcntl(descriptor, Libc.F_SETFD, Libc.FD_CLOEXEC) == 0 ? new Listener(new SafeFileHandle(descriptor, ownsHandle: true), null) : null;

    /// <summary>Removes the socket file that was bound here.</summary>
    internal void Remove()
    {
        if (Path is not null)
        {
            File.Delete(Path);
        }
    }

    private static Listener Bind(string name)
    {
        var path = System.IO.Path.GetFullPath(name);
        if (System.Text.Encoding.UTF8.GetByteCount(path) > Libc.MaxSocketPath)
        {
            throw new FormatException($"the socket path {path} is longer than {Libc.MaxSocketPath} bytes, which is all that a unix socket can have");
        }

        RemoveStale(path);
        return new Listener(UnixSockets.Listen(path, Backlog), path);
    }

    // A socket file outlives its server. Nobody accepts on it any more? Then it is only in the way.
    private static void RemoveStale(string path)
    {
        if (Libc.KindOf(path, followLinks: false) != FileKind.Socket)
        {
            return;
        }

        if (UnixSockets.IsServed(path))
        {
            throw new InvalidOperationException($"another process listens on {path}");
        }

        File.Delete(path);
    }
}
