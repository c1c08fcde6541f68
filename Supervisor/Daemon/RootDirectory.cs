using System.Security.Cryptography;
using System.Text;
using Shim.Interop;
using Supervisor.Containers;

namespace Supervisor.Daemon;

/// <summary>
/// The root and what lies below it. The root may be entered by all (0711), so that clients can be given a socket that lies in it
/// later; everything below is ours alone.
/// </summary>
internal sealed class RootDirectory
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode OthersEnter = OwnerOnly | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private readonly string _path;

    private RootDirectory(string path) => _path = path;

    /// <summary>One directory for each container.</summary>
    internal string Containers => Path.Join(_path, "c");

    /// <summary>The event log.</summary>
    internal string Events => Path.Join(_path, "events");

    /// <summary>The lock of the one supervisor of this root.</summary>
    internal string Lock => Path.Join(_path, "supervisor.lock");

    private string Sockets => Path.Join(_path, "s");

    /// <summary>Makes what is missing, and puts permissions right whatever they were and whatever the umask is.</summary>
    internal static RootDirectory Prepare(string path, string runtimeRoot)
    {
        var root = new RootDirectory(path);
        try
        {
            MakeRoot(root);
            Make(root.Containers, OwnerOnly);
            Make(root.Events, OwnerOnly);
            Make(root.Sockets, OwnerOnly);
            if (!Directory.Exists(runtimeRoot))
            {
                Make(runtimeRoot, OwnerOnly);
            }

            if (root.ShortSocket("x").Length > Settings.MaxSocketPath)
            {
                throw new StartRefusedException($"the root {path} is too long: sockets below it would have more than {Settings.MaxSocketPath} bytes");
            }

            return root;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StartRefusedException($"prepare the root {path}: {e.Message}", e);
        }
    }

    /// <summary>Where a container lies. A socket whose path would be too long gets a short one of its own.</summary>
    internal ContainerDirectory OfContainer(string id)
    {
        var directory = Path.Join(Containers, id);
        var socket = Path.Join(directory, "shim.sock");
        return new ContainerDirectory(directory, Encoding.UTF8.GetByteCount(socket) <= Settings.MaxSocketPath ? socket : ShortSocket(id));
    }

    private string ShortSocket(string id) =>
        Path.Join(Sockets, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(id)).AsSpan(0, 8)) + ".sock");

    /// <summary>A directory that is somebody else's too (<c>/run</c> itself, by mistake) keeps its mode; one that others can write is refused.</summary>
    private static void MakeRoot(RootDirectory root)
    {
        var path = root._path;
        if (!Directory.Exists(path) || File.Exists(root.Lock) || !Directory.EnumerateFileSystemEntries(path).Any())
        {
            Make(path, OthersEnter);
        }
        else if ((File.GetUnixFileMode(path) & (UnixFileMode.GroupWrite | UnixFileMode.OtherWrite)) != 0)
        {
            throw new StartRefusedException($"the root {path} is not empty and others may write to it");
        }
    }

    private static void Make(string path, UnixFileMode mode)
    {
        if (Libc.KindOf(path, followLinks: false) is not (FileKind.Directory or FileKind.Missing))
        {
            throw new StartRefusedException($"{path} is there and is not a directory");
        }

        Directory.CreateDirectory(path, mode);
        File.SetUnixFileMode(path, mode);
    }
}
