using Containerd;
using Containerd.Services.Events.V1;
using Containerd.Types;
using Grpc.Core;
using Grpc.Net.Client;

namespace Shim.Transport.ShimV2;

/// <summary>containerd's events service on gRPC, for a daemon that offers no ttrpc.</summary>
/// <param name="socketPath">The daemon's gRPC socket.</param>
internal sealed class GrpcEventSink(string socketPath) : IEventSink
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    private readonly GrpcChannel _channel = UnixChannel.Open(socketPath);

    /// <inheritdoc/>
    public async Task SendAsync(Envelope envelope, CancellationToken cancellationToken) =>
        _ = await new Events.EventsClient(_channel).ForwardAsync(
            new ForwardRequest { Envelope = envelope },
            new CallOptions(deadline: DateTime.UtcNow + s_limit, cancellationToken: cancellationToken)).ConfigureAwait(false);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _channel.Dispose();
        return ValueTask.CompletedTask;
    }
}
