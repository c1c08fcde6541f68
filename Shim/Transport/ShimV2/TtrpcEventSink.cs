using Containerd.Services.Events.Ttrpc.V1;
using Containerd.Types;
using Google.Protobuf.WellKnownTypes;
using Shim.Transport.Ttrpc;

namespace Shim.Transport.ShimV2;

/// <summary>containerd's events service on ttrpc. Connects when there is something to tell, and again when the daemon has come back.</summary>
/// <param name="socketPath">The daemon's ttrpc socket.</param>
internal sealed class TtrpcEventSink(string socketPath) : IEventSink
{
    private const string Service = "containerd.services.events.ttrpc.v1.Events";

    // A daemon that is stopped takes the connection and says nothing; the event is sent again then, and may arrive twice, as with any such shim.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _connecting = new(1, 1);
    private TtrpcClient? _client;

    /// <inheritdoc/>
    public async Task SendAsync(Envelope envelope, CancellationToken cancellationToken)
    {
        var client = await ConnectedAsync(cancellationToken).ConfigureAwait(false);
        _ = await client.CallAsync(
            Service, "Forward", new ForwardRequest { Envelope = envelope }, Empty.Parser, s_limit, null, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_client is { } client)
        {
            await client.DisposeAsync().ConfigureAwait(false);
        }

        _connecting.Dispose();
    }

    private async Task<TtrpcClient> ConnectedAsync(CancellationToken cancellationToken)
    {
        await _connecting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_client is { Closed.IsCompleted: false } client)
            {
                return client;
            }

            if (_client is not null)
            {
                await _client.DisposeAsync().ConfigureAwait(false);
                _client = null;
            }

            return _client = TtrpcClient.Connect(socketPath);
        }
        finally
        {
            _connecting.Release();
        }
    }
}
