using Shim.Interop;
using Shim.Processes;

namespace Supervisor.Shims;

/// <summary>The process of a shim, identified beyond doubt: a child of ours, or one that a former supervisor has started.</summary>
internal sealed class ShimProcess : IDisposable
{
    // From its end until its parent, if that is somebody else, has collected it.
    private static readonly TimeSpan s_collection = TimeSpan.FromMilliseconds(100);

    private readonly PidFd _process;

    private ShimProcess(PidFd process, ulong startTime, Task<ExitStatus?> ended)
    {
        _process = process;
        StartTime = startTime;
        Ended = ended;
    }

    /// <summary>Its pid.</summary>
    internal int Pid => _process.Pid;

    /// <summary>When it started, in clock ticks since boot.</summary>
    internal ulong StartTime { get; }

    /// <summary>Completes when it has ended, with its status if we were its parent.</summary>
    internal Task<ExitStatus?> Ended { get; }

    /// <summary>
    /// Its end, with its status also when we were not its parent, if the kernel tells (since 6.15): the reason of a loss is what people look for in
    /// the log.
    /// </summary>
    internal async Task<ExitStatus?> EndAsync() => await Ended ?? await _process.EndStatusAsync(s_collection, TimeProvider.System);

    /// <summary>Whether it has ended.</summary>
    internal bool HasEnded => Ended.IsCompleted;

    /// <summary>A child that was just started and is watched.</summary>
    internal static ShimProcess OfChild(PidFd process, Task<ExitStatus?> ended) => new(process, ProcFs.StartTime(process.Pid) ?? 0, ended);

    /// <summary>Finds the process that once had this pid and start time; null when it has ended.</summary>
    internal static ShimProcess? TryFind(int pid, ulong startTime, ProcessWatcher watcher)
    {
        if (TryOpen(pid, startTime) is not { } process)
        {
            return null;
        }

        try
        {
            return new ShimProcess(process, startTime, watcher.WatchAsync(process));
        }
        catch
        {
            process.Dispose();
            throw;
        }
    }

    /// <summary>Opens a process by pid and start time; null when it has ended, also when only its zombie is left.</summary>
    internal static PidFd? TryOpen(int pid, ulong startTime)
    {
        if (pid <= 0 || startTime == 0 || PidFd.TryOpen(pid) is not { } process)
        {
            return null;
        }

        // In this order: once the descriptor is open, a matching start time read through /proc belongs to the same process.
        if (ProcFs.StartTime(pid) == startTime && !process.HasExited)
        {
            return process;
        }

        process.Dispose();
        return null;
    }

    /// <summary>SIGKILL, if it has not ended.</summary>
    internal void Kill()
    {
        if (!HasEnded)
        {
            _process.Signal(Libc.SIGKILL);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // The watcher holds the descriptor until the end; a living shim keeps it.
        if (HasEnded)
        {
            _process.Dispose();
        }
    }
}
