using System.Globalization;
using Shim.Interop;
using Shim.Processes;

namespace Supervisor.Shims;

/// <summary>
/// Runtimes that a dead shim has left running. One that is still creating the container would finish after we have cleaned up, and
/// the container would be there for ever with nobody to know of it. Killing it half-way is no better: the runtime's own state is
/// written last, and without it nothing removes the cgroups. So it is waited for, and killed only when it hangs.
/// </summary>
internal static class RuntimeOrphans
{
    private static readonly TimeSpan s_endLimit = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Waits for the end of what belongs to the session of the shim that had <paramref name="shimPid"/> and names the container in
    /// its arguments: runtimes. (The container's own processes have sessions of their own.)
    /// </summary>
    internal static async Task AwaitAsync(int shimPid, string containerId, ProcessWatcher watcher)
    {
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory.AsSpan()), CultureInfo.InvariantCulture, out var pid)
                || SessionOf(pid) != shimPid
                || PidFd.TryOpen(pid) is not { } process)
            {
                continue;
            }

            using (process)
            {
                // Once more, now that the descriptor holds the identity.
                if (SessionOf(pid) == shimPid && ProcFs.Arguments(pid).Contains(containerId))
                {
                    await AwaitAsync(process, watcher);
                }
            }
        }
    }

    private static async Task AwaitAsync(PidFd process, ProcessWatcher watcher)
    {
        var ended = watcher.WatchAsync(process);
        try
        {
            await ended.WaitAsync(s_endLimit);
        }
        catch (TimeoutException)
        {
            process.Signal(Libc.SIGKILL);
            await Task.WhenAny(ended, Task.Delay(s_endLimit));
        }
    }

    private static int? SessionOf(int pid)
    {
        var stat = ProcFs.Read($"/proc/{pid}/stat");
        var end = stat?.LastIndexOf(')') ?? -1;

        // After the name: state, parent, process group, session.
        return end >= 0 && stat![(end + 2)..].Split(' ', 5) is { Length: 5 } fields
            && int.TryParse(fields[3], CultureInfo.InvariantCulture, out var session) ? session : null;
    }
}
