using System.Globalization;
using Shim.Interop;
using Shim.Processes;
using Supervisor.Containers;

namespace Supervisor.Shims;

/// <summary>
/// Shims whose pid nobody wrote down: a supervisor that dies between starting one and writing its pid leaves it without anybody who knows of it.
/// What leads to it is its command line, which names its state directory. It has not been asked for anything yet, so it can be killed.
/// </summary>
internal sealed class StrayShims
{
    private static readonly TimeSpan s_endLimit = TimeSpan.FromSeconds(5);

    private readonly ProcessWatcher _watcher;
    private readonly Lazy<ILookup<string, int>> _byDirectory;

    /// <param name="watcher">Waits for their ends.</param>
    public StrayShims(ProcessWatcher watcher)
    {
        _watcher = watcher;

        // One look for all containers, before this supervisor has started a shim itself.
        _byDirectory = new(() => Processes().ToLookup(process => process.Directory, process => process.Pid, StringComparer.Ordinal));
    }

    /// <summary>The pid of root's living shim that has the container's directory, or null.</summary>
    internal int? Find(ContainerDirectory directory) => _byDirectory.Value[directory.Path]
        .Where(pid => StateDirectory(pid) == directory.Path && ProcFs.Credentials(pid)?.Uid == 0 && ProcFs.State(pid) is not ('Z' or 'X'))
        .Select(pid => (int?)pid).FirstOrDefault();

    /// <summary>What follows an option in the arguments of a shim; null for any other process, and for one without it.</summary>
    internal static string? Option(int pid, string name)
    {
        var arguments = pid == 0 ? [] : ProcFs.Arguments(pid);
        var option = Array.IndexOf(arguments, name);
        return option > 0 && option + 1 < arguments.Length && arguments.Contains("serve") ? arguments[option + 1] : null;
    }

    /// <summary>Ends all that have the container's directory, but the one that is known.</summary>
    internal async Task EndAsync(ContainerDirectory directory, int? except = null)
    {
        foreach (var pid in _byDirectory.Value[directory.Path].Where(pid => pid != except))
        {
            using var process = PidFd.TryOpen(pid);
            if (process is not null && StateDirectory(pid) == directory.Path)
            {
                var ended = _watcher.WatchAsync(process);
                process.Signal(Libc.SIGKILL);
                await ended.WaitAsync(s_endLimit);
            }
        }
    }

    private static IEnumerable<(string Directory, int Pid)> Processes()
    {
        foreach (var entry in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(entry.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                && StateDirectory(pid) is { } directory)
            {
                yield return (directory, pid);
            }
        }
    }

    /// <summary>The state directory that the arguments of a shim name; null for any other process.</summary>
    private static string? StateDirectory(int pid) => Option(pid, "--state");
}
