namespace Supervisor.Shims;

/// <summary>What the rooms around shims say. Event ids 200 to 299.</summary>
internal static partial class ShimsLog
{
    [LoggerMessage(200, LogLevel.Information, "shim of container {ContainerId} started, pid {Pid}")]
    internal static partial void Started(ILogger logger, string containerId, int pid);

    [LoggerMessage(201, LogLevel.Information, "shim of container {ContainerId} (pid {Pid}) has ended: {Status}")]
    internal static partial void Ended(ILogger logger, string containerId, int pid, string status);

    [LoggerMessage(202, LogLevel.Error, "shim of container {ContainerId} (pid {Pid}) is lost: {Status}; the end of its log: {LogTail}")]
    internal static partial void Lost(ILogger logger, string containerId, int pid, string status, string logTail);

    [LoggerMessage(203, LogLevel.Warning, "shim of container {ContainerId} (pid {Pid}) did not end by itself and is killed")]
    internal static partial void Killed(ILogger logger, string containerId, int pid);

    [LoggerMessage(204, LogLevel.Information, "shim of container {ContainerId} (pid {Pid}) found again")]
    internal static partial void Reconnected(ILogger logger, string containerId, int pid);

    [LoggerMessage(205, LogLevel.Warning, "shim of container {ContainerId} (pid {Pid}) does not answer; asking again in {DelaySeconds} s")]
    internal static partial void Mute(ILogger logger, string containerId, int pid, double delaySeconds);

    [LoggerMessage(206, LogLevel.Warning, "event stream of container {ContainerId} (shim pid {Pid}) broke; resuming in {DelayMilliseconds} ms: {Reason}")]
    internal static partial void StreamBroken(ILogger logger, string containerId, int pid, double delayMilliseconds, string reason);

    [LoggerMessage(207, LogLevel.Warning, "container {ContainerId}: its shim announced event {ShimSequence}, which has not arrived in time")]
    internal static partial void EventsLate(ILogger logger, string containerId, ulong shimSequence);

    [LoggerMessage(208, LogLevel.Warning, "cleaning up container {ContainerId} with the runtime: {Reason}")]
    internal static partial void RuntimeDeleteFailed(ILogger logger, string containerId, string reason);

    [LoggerMessage(209, LogLevel.Warning, "container {ContainerId} goes on: a new shim (pid {Pid}) has taken it over")]
    internal static partial void Adopted(ILogger logger, string containerId, int pid);

    [LoggerMessage(210, LogLevel.Error, "container {ContainerId} cannot be taken over by a new shim: {Reason}")]
    internal static partial void NotAdopted(ILogger logger, string containerId, string reason);
}
