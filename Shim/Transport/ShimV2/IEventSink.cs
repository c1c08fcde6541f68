using Containerd.Types;

namespace Shim.Transport.ShimV2;

/// <summary>Where events go: the daemon, over whichever wire it offers.</summary>
internal interface IEventSink : IAsyncDisposable
{
    /// <summary>
    /// Tells one event and returns once it has been taken. Throws an RpcException: Unavailable when nobody is there to be told, another code when the
    /// daemon was told and refused.
    /// </summary>
    public Task SendAsync(Envelope envelope, CancellationToken cancellationToken);
}
