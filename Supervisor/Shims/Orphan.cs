using Shim.Processes;

namespace Supervisor.Shims;

/// <summary>A process of a container whose shim is lost. It may have ended already, and even be waiting for us, its parent now, to be collected.</summary>
internal sealed class Orphan
{
    // From the end of a process until its parent, if that is somebody else, has collected it.
    private static readonly TimeSpan s_collection = TimeSpan.FromSeconds(1);

    private readonly PidFd _process;

    private Orphan(PidFd process, ProcessWatcher watcher)
    {
        _process = process;
        HadExited = process.HasExited;
        Ended = EndAsync(watcher);
    }

    /// <summary>Its pid.</summary>
    internal int Pid => _process.Pid;

    /// <summary>Whether it had ended before anybody looked.</summary>
    internal bool HadExited { get; }

    /// <summary>How it ended, when it has; null when its parent is somebody else, and the kernel (before 6.15) tells nobody but parents.</summary>
    internal Task<ExitStatus?> Ended { get; }

    /// <summary>Opens the process that had this pid and start time; null when it has gone.</summary>
    internal static Orphan? TryOpen(int pid, ulong startTime, ProcessWatcher watcher) =>
        startTime == 0 ? null : TryOpen(pid, watcher, () => ProcFs.StartTime(pid) == startTime);

    /// <summary>Opens a process whose start time nobody knows: only as a child of ours it is certain to be the one that had this pid.</summary>
    internal static Orphan? TryOpenChild(int pid, ProcessWatcher watcher) =>
        TryOpen(pid, watcher, () => ProcFs.Parent(pid) == Environment.ProcessId);

    /// <summary>Signals it; nothing happens when it has ended.</summary>
    internal void Signal(int signal)
    {
        try
        {
            _ = _process.Signal(signal);
        }
        catch (ObjectDisposedException)
        {
            // It has ended, and we have learned how.
        }
    }

    private static Orphan? TryOpen(int pid, ProcessWatcher watcher, Func<bool> isIt)
    {
        if (pid <= 0 || PidFd.TryOpen(pid) is not { } process)
        {
            return null;
        }

        // In this order: once the descriptor is open, what /proc says of the number is said of this process.
        if (isIt())
        {
            return new Orphan(process, watcher);
        }

        process.Dispose();
        return null;
    }

    private async Task<ExitStatus?> EndAsync(ProcessWatcher watcher)
    {
        using (_process)
        {
            return await watcher.WatchAsync(_process).ConfigureAwait(false) ?? await _process.EndStatusAsync(s_collection, TimeProvider.System).ConfigureAwait(false);
        }
    }
}
