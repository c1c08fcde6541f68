using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;
using Shim.Interop;

namespace Supervisor.Cli.Bundles;

/// <summary>
/// The directory that a verb makes for a container: <c>b/&lt;id&gt;</c> beside the supervisor's socket, mode 0700. It holds the
/// config.json that we wrote, if we wrote one, <c>output.log</c> and <c>stdin</c> of a detached container, and it goes when the container is
/// deleted by us.
/// </summary>
internal sealed class PrivateBundle : IDisposable
{
    private const string LogName = "output.log";
    private const string StdinName = "stdin";

    private readonly SafeFileHandle _lock;

    private PrivateBundle(string directory, SafeFileHandle @lock)
    {
        Directory = directory;
        _lock = @lock;
    }

    internal string Directory { get; }

    /// <summary>Where a detached container's output goes.</summary>
    internal string LogFile => Path.Combine(Directory, LogName);

    /// <summary>The FIFO that feeds a detached container which wants stdin.</summary>
    internal string StdinFifo => Path.Combine(Directory, StdinName);

    /// <summary>The directory of <paramref name="id"/> beside <paramref name="socket"/>, whether it exists or not.</summary>
    internal static string PathOf(string socket, string id) => Path.Combine(Path.GetDirectoryName(socket)!, "b", id);

    /// <summary>
    /// Makes the directory. One that is there already belongs to a container, to a client that is just creating one, or to nobody any
    /// more: <paramref name="containerExists"/> and a lock on the directory, held until this object is disposed, tell them apart.
    /// </summary>
    internal static async Task<PrivateBundle> CreateAsync(string socket, string id, Func<Task<bool>> containerExists)
    {
        ThrowUnlessValid(id);
        var directory = PathOf(socket, id);
        Beside(socket, "b");
        for (var attempt = 0; attempt < 2; attempt++)
        {
            if (MakeDirectory(directory))
            {
                return new PrivateBundle(directory, Lock(directory, id));
            }

            using var held = Lock(directory, id);
            if (await containerExists().ConfigureAwait(false))
            {
                throw Exists(id);
            }

            System.IO.Directory.Delete(directory, recursive: true);
        }

        throw new CliException($"{directory} cannot be made: another client uses it");
    }

    /// <summary>
    /// The directory that was made for <paramref name="id"/>, locked so that nobody makes it anew while the container is being deleted;
    /// null when there is none, as for a container that brought its own bundle, or when a new container is just being made of it.
    /// </summary>
    internal static PrivateBundle? Find(string socket, string id)
    {
        var directory = PathOf(socket, id);
        if (!IsValid(id) || !System.IO.Directory.Exists(directory))
        {
            return null;
        }

        try
        {
            return new PrivateBundle(directory, Lock(directory, id));
        }
        catch (Exception e) when (e is CliException or NativeException)
        {
            return null;
        }
    }

    /// <summary>The refusal of an id that is in use.</summary>
    internal static CliException Exists(string id) =>
        new($"container {id} already exists", $"delete it first (`supervisor delete {id}`), or use another id");

    /// <summary>Writes config.json.</summary>
    internal void WriteConfig(System.Text.Json.Nodes.JsonObject config) =>
        File.WriteAllText(Path.Combine(Directory, "config.json"), config.ToJsonString());

    /// <summary>Makes the FIFO for stdin, and says where it is.</summary>
    internal string MakeStdin()
    {
        Fifo.Make(StdinFifo);
        return StdinFifo;
    }

    /// <summary>Removes the directory with everything in it.</summary>
    internal void Remove()
    {
        try
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Somebody tidied up before us.
        }
    }

    public void Dispose() => _lock.Dispose();

    // The id becomes a directory's name, before the supervisor has seen it.
    private static void ThrowUnlessValid(string id)
    {
        if (!IsValid(id))
        {
            throw new CliException(
                $"'{id}' cannot be a container's id",
                "an id is 1 to 128 letters, digits, '_', '.' and '-', and begins with a letter or digit");
        }
    }

    private static bool IsValid(string id) =>
        id.Length is > 0 and <= 128 && char.IsAsciiLetterOrDigit(id[0]) && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-');

    /// <summary>Makes sure of a directory of ours beside the supervisor's socket, and says where it is.</summary>
    internal static string Beside(string socket, string name)
    {
        var parent = Path.GetDirectoryName(socket)!;
        if (!System.IO.Directory.Exists(parent))
        {
            throw new CliException($"nobody serves {socket}: no such file or directory", GlobalOptions.HowToServe(socket));
        }

        var directory = Path.Combine(parent, name);
        MakeDirectory(directory);
        return directory;
    }

    /// <summary>Makes a directory that only we can enter; false when it is there already.</summary>
    internal static bool MakeDirectory(string path)
    {
        if (Syscall.mkdir(path, FilePermissions.S_IRWXU) == 0)
        {
            return true;
        }

        var error = Stdlib.GetLastError();
        if (error == Mono.Unix.Native.Errno.EEXIST)
        {
            return false;
        }

        throw new CliException($"cannot make the directory {path}: {Stdlib.strerror(error)}");
    }

    private static SafeFileHandle Lock(string directory, string id)
    {
        var handle = Fd.Open(directory, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW);
        if (Libc.Flock(Fd.Number(handle), Libc.LOCK_EX | Libc.LOCK_NB) == 0)
        {
            return handle;
        }

        handle.Dispose();
        throw new CliException($"another client is just creating container {id}");
    }
}
