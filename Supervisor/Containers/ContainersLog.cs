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

    [LoggerMessage(110, LogLevel.Information, "recovery: container {ContainerId}: {Decision}")]
    internal static partial void Recovering(ILogger logger, string containerId, RecoveryDecision decision);

    [LoggerMessage(111, LogLevel.Information, "recovery: {Count} containers found, {Ready} ready after {Milliseconds} ms")]
    internal static partial void Recovered(ILogger logger, int count, int ready, long milliseconds);

    [LoggerMessage(112, LogLevel.Warning, "container {ContainerId} has events but no directory: it counts as deleted")]
    internal static partial void DirectoryMissing(ILogger logger, string containerId);
}
