using Containerd.Services.Events.V1;
using Containerd.Types;
using Grpc.Core;
using Shim.Interop;
using Shim.Transport.Http2;

namespace Shim.Transport.ShimV2;

/// <summary>containerd's events service on gRPC, for a daemon that offers no ttrpc.</summary>
/// <param name="socketPath">The daemon's gRPC socket.</param>
internal sealed class GrpcEventSink(string socketPath) : IEventSink
{
    private const string Forward = "/containerd.services.events.v1.Events/Forward";

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    // One call at a time on one connection: several containers may have something to tell.
    private readonly SemaphoreSlim _turn = new(1, 1);
    private GrpcClient? _client;

    /// <inheritdoc/>
    public async Task SendAsync(Envelope envelope, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            _client ??= await GrpcClient.ConnectAsync(socketPath, cancellationToken).ConfigureAwait(false);
            await _client.CallAsync(Forward, new ForwardRequest { Envelope = envelope }, s_limit, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded)
        {
            await ForgetAsync().ConfigureAwait(false);
            throw;
        }
        catch (NativeException e)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, e.Message));
        }
        catch (OperationCanceledException)
        {
            await ForgetAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await ForgetAsync().ConfigureAwait(false);
        _turn.Dispose();
    }

    private async Task ForgetAsync()
    {
        if (_client is { } client)
        {
            _client = null;
            await client.DisposeAsync().ConfigureAwait(false);
        }
    }
}
