namespace Supervisor.Containers;

/// <summary>What the room of containers says. Event ids 100 to 199.</summary>
internal static partial class ContainersLog
{
    [LoggerMessage(100, LogLevel.Information, "container {ContainerId} created from {Bundle}, init pid {Pid}")]
    internal static partial void Created(ILogger logger, string containerId, string bundle, uint pid);

    [LoggerMessage(101, LogLevel.Warning, "container {ContainerId} could not be created and is undone: {Reason}")]
    internal static partial void CreationFailed(ILogger logger, string containerId, string reason);

    [LoggerMessage(102, LogLevel.Information, "container {ContainerId} removed")]
    internal static partial void Removed(ILogger logger, string containerId);

    [LoggerMessage(103, LogLevel.Warning, "container {ContainerId}: its shim refused to undo the creation: {Reason}")]
    internal static partial void UndoRefused(ILogger logger, string containerId, string reason);

    [LoggerMessage(104, LogLevel.Error, "container {ContainerId}: init (pid {Pid}) survives SIGKILL")]
    internal static partial void InitSurvives(ILogger logger, string containerId, int pid);

    [LoggerMessage(105, LogLevel.Error, "container {ContainerId}: cleaning up failed")]
    internal static partial void CleanUpFailed(ILogger logger, string containerId, Exception exception);

    [LoggerMessage(106, LogLevel.Error, "container {ContainerId}: its cgroup {Path} cannot be removed")]
    internal static partial void CgroupStays(ILogger logger, string containerId, string path);

    [LoggerMessage(107, LogLevel.Warning, "container {ContainerId}: what is intended with it could not be written down: {Reason}")]
    internal static partial void NotNoted(ILogger logger, string containerId, string reason);

    [LoggerMessage(110, LogLevel.Information, "recovery: container {ContainerId}: {Decision}")]
    internal static partial void Recovering(ILogger logger, string containerId, RecoveryDecision decision);

    [LoggerMessage(111, LogLevel.Information, "recovery: {Count} containers found, {Ready} ready after {Milliseconds} ms")]
    internal static partial void Recovered(ILogger logger, int count, int ready, long milliseconds);

    [LoggerMessage(112, LogLevel.Warning, "container {ContainerId} has events but no directory: it counts as deleted")]
    internal static partial void DirectoryMissing(ILogger logger, string containerId);

    [LoggerMessage(130, LogLevel.Error, "container {ContainerId}: {Damage}")]
    internal static partial void Damaged(ILogger logger, string containerId, string damage);

    [LoggerMessage(131, LogLevel.Warning, "container {ContainerId}: what it was made from is lost; going on with what its shim (pid {Pid}) and the kernel know")]
    internal static partial void RecordRebuilt(ILogger logger, string containerId, int pid);

    [LoggerMessage(132, LogLevel.Warning, "{Path} is not a container's and is left alone")]
    internal static partial void Stranger(ILogger logger, string path);

    [LoggerMessage(133, LogLevel.Error, "container {ContainerId}: the loss of its shim cannot be dealt with now, trying again in {DelaySeconds} s: {Reason}")]
    internal static partial void LossWaits(ILogger logger, string containerId, double delaySeconds, string reason);
}
