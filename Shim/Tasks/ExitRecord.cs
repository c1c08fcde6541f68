using Shim.Processes;

namespace Shim.Tasks;

/// <summary>Why a process is no longer there.</summary>
internal enum ExitReason
{
    Exited,
    Signaled,
    OomKilled,
    RuntimeError,
    ShimLost,
    Unknown,
}

/// <summary>How a process ended: the kernel's status with what the shim knows beyond it.</summary>
internal sealed record ExitRecord(ExitStatus Status, ExitReason Reason, string Message, DateTimeOffset Time, ResourceUse Usage)
{
    /// <summary>The record of an exit that the reaper delivered.</summary>
    /// <param name="exit">What was collected.</param>
    /// <param name="outOfMemory">The cgroup that ran out of memory, if that is what killed it.</param>
    internal static ExitRecord From(ChildExit exit, string? outOfMemory) => exit switch
    {
        { Known: false } => new(exit.Status, ExitReason.Unknown, "the process had another parent, which alone learned its status", exit.Time, exit.Usage),
        { Status.Signal: 0 } => new(exit.Status, ExitReason.Exited, "", exit.Time, exit.Usage),
        _ when outOfMemory is not null => new(exit.Status, ExitReason.OomKilled, $"the container ran out of memory (cgroup {outOfMemory})", exit.Time, exit.Usage),
        _ => new(exit.Status, ExitReason.Signaled, "", exit.Time, exit.Usage),
    };
}
