using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// The socket of a shim, or of a group of containers that share one. Daemons and tools compute its path themselves, from the daemon's address, the namespace
/// and the group.
/// </summary>
internal static class ShimSocket
{
    private const string DefaultDirectory = "/run/containerd/s";
    private const string Scheme = "unix://";
    private const int Backlog = 128;

    private const UnixFileMode DirectoryMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>The path of the socket.</summary>
    /// <param name="daemon">The daemon's gRPC address, as it gives it.</param>
    /// <param name="nameSpace">containerd's namespace.</param>
    /// <param name="group">Whose shim it is: a container's or a pod's id.</param>
    /// <param name="directory">Where sockets lie; null is where containerd's own shims have theirs.</param>
    internal static string PathOf(string daemon, string nameSpace, string group, string? directory = null) =>
        Path.Combine(directory ?? DefaultDirectory, Convert.ToHexStringLower(Sha256.Hash(Encoding.UTF8.GetBytes(Path.Join(daemon, nameSpace, group)))));

    /// <summary>The path of a socket as an address.</summary>
    internal static string AddressOf(string path) => Scheme + path;

    /// <summary>The path in an address.</summary>
    internal static string PathOf(string address) => address.StartsWith(Scheme, StringComparison.Ordinal) ? address[Scheme.Length..] : address;

    /// <summary>
    /// Binds the socket, or returns null when another shim serves it. A socket that its shim has left is replaced; of two who come at once, one binds.
    /// </summary>
    internal static SafeFileHandle? Bind(string path)
    {
        if (!Path.IsPathFullyQualified(path) || Encoding.UTF8.GetByteCount(path) > Libc.MaxSocketPath)
        {
            throw new InvalidDataException($"a socket cannot lie at {path}: an absolute path of at most {Libc.MaxSocketPath} bytes is needed");
        }

        using var turn = Lock(Directory.CreateDirectory(Path.GetDirectoryName(path)!, DirectoryMode).FullName);
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return UnixSockets.Listen(path, Backlog);
            }
            catch (NativeException e) when (e.Number == Errno.EADDRINUSE && attempt < 3)
            {
                if (UnixSockets.IsServed(path))
                {
                    return null;
                }

                File.Delete(path);
            }
        }
    }

    /// <summary>Removes the socket of a shim that is gone. One that a successor serves stays.</summary>
    internal static void RemoveLeft(string path)
    {
        if (!File.Exists(path))
        {
            return;
        }

        using var turn = Lock(Path.GetDirectoryName(path)!);
        if (!UnixSockets.IsServed(path))
        {
            File.Delete(path);
        }
    }

    /// <summary>
    /// Between the look at a socket and its removal nobody may bind a new one. Held for a moment, by <c>start</c> and <c>delete</c> only; the kernel frees it
    /// with its holder.
    /// </summary>
    private static SafeFileHandle Lock(string directory)
    {
        var handle = Fd.Open(directory, Libc.O_DIRECTORY);
        while (Libc.Flock(Fd.Number(handle), Libc.LOCK_EX) == -1 && Marshal.GetLastPInvokeError() == Errno.EINTR)
        {
        }

        return handle;
    }
}
