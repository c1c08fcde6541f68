namespace Supervisor.Daemon;

/// <summary>What the daemon says of itself. Event ids 1 to 99.</summary>
internal static partial class DaemonLog
{
    [LoggerMessage(1, LogLevel.Information, "supervisor {Version} (pid {Pid}) serves {Socket}, root {Root}, runtime {Runtime}, shim {Shim}")]
    internal static partial void Serving(ILogger logger, string version, int pid, string socket, string root, string runtime, string shim);

    [LoggerMessage(2, LogLevel.Information, "stopping; containers and their shims go on")]
    internal static partial void Stopping(ILogger logger);

    [LoggerMessage(3, LogLevel.Warning, "connection refused: {Peer} is not root")]
    internal static partial void PeerRefused(ILogger logger, PeerCredentials peer);

    [LoggerMessage(4, LogLevel.Warning, "removed the stale socket {Path}")]
    internal static partial void StaleSocket(ILogger logger, string path);

    [LoggerMessage(5, LogLevel.Error, "the event log was damaged: {Damage}; what can be read is used")]
    internal static partial void EventsDamaged(ILogger logger, string damage);

    [LoggerMessage(6, LogLevel.Error, "no connection can be accepted for now: {Reason}")]
    internal static partial void AcceptPaused(ILogger logger, string reason);

    [LoggerMessage(7, LogLevel.Information, "connections are accepted again")]
    internal static partial void AcceptResumed(ILogger logger);
}
