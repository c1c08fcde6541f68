using Shim.Loops;

namespace Shim.Processes;

/// <summary>
/// A process that somebody else started and whose parent is not this one: a shim that was lost has left it. Its end shows by its pidfd; its status comes
/// from the kernel once its parent has collected it (Linux 6.15 and later), or from that parent, whoever tells us.
/// </summary>
internal sealed class AdoptedProcess
{
    // From the end of a process until its parent has collected it, or has told us. Parents that collect do it at once.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(10);

    private readonly TaskCompletionSource<ExitStatus> _told = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private AdoptedProcess(PidFd? identity, int pid) => (Identity, Pid) = (identity, pid);

    /// <summary>Host pid.</summary>
    internal int Pid { get; }

    /// <summary>The process, for signals; null when it had gone already.</summary>
    internal PidFd? Identity { get; }

    /// <summary>Opens the process that had this pid and start time. A zombie counts: its parent has not collected it yet.</summary>
    internal static AdoptedProcess Open(int pid, ulong startTime)
    {
        var process = startTime == 0 ? null : PidFd.TryOpen(pid);

        // In this order: once the descriptor is open, a matching start time read through /proc belongs to the same process.
        if (process is not null && ProcFs.StartTime(pid) != startTime)
        {
            process.Dispose();
            process = null;
        }

        return new AdoptedProcess(process, pid);
    }

    /// <summary>The parent says how it ended.</summary>
    internal void Told(int waitStatus) => _told.TrySetResult(ExitStatus.FromWaitStatus(waitStatus));

    /// <summary>
    /// How it ended, after its end was seen: the truth, or <see cref="ChildExit.Unknown"/>. What it used, nobody but its parent learns.
    /// </summary>
    internal async Task<ChildExit> StatusAsync()
    {
        var end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        do
        {
            if ((_told.Task.IsCompletedSuccessfully ? _told.Task.Result : Identity?.EndStatus) is { } status)
            {
                return new ChildExit(Pid, status, true, DateTimeOffset.UtcNow, default);
            }

            await Task.WhenAny(_told.Task, Clock.DelayAsync(s_interval)).ConfigureAwait(false);
        }
        while (Environment.TickCount64 < end);
        return ChildExit.Unknown(Pid);
    }
}
