using Grpc.Core;

namespace Supervisor.Api;

/// <summary>What the API says. Event ids 300 to 399.</summary>
internal static partial class ApiLog
{
    [LoggerMessage(300, LogLevel.Debug, "{Method} refused: {Code}: {Reason}")]
    internal static partial void Refused(ILogger logger, string method, StatusCode code, string reason);

    [LoggerMessage(301, LogLevel.Error, "{Method} failed")]
    internal static partial void Failed(ILogger logger, string method, Exception exception);

    [LoggerMessage(310, LogLevel.Information, "audit: {Verb} in container {ContainerId}, {Detail}, by uid {Uid} pid {PeerPid}: {Code}")]
    internal static partial void Audit(ILogger logger, string verb, string containerId, string detail, uint uid, int peerPid, StatusCode code);
}
