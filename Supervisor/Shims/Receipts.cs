using Containerd.Shim.V1;
using Grpc.Core;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Shims;

/// <summary>
/// Tells a shim which of its events are on disk here, so that its journal does not grow for ever. In batches and only when events come: a shim
/// that has nothing to say is not woken up. Nobody waits for it, and a word that is lost is made up for by the next.
/// </summary>
internal sealed class Receipts(ShimContract.ShimClient client)
{
    private const int BatchEvents = 256;
    private const int BatchBytes = 64 * 1024;

    private int _events;
    private int _bytes;
    private bool _isUseless;

    /// <summary>Counts an event that was recorded. One caller at a time.</summary>
    internal void Recorded(Event message)
    {
        _events++;
        _bytes += message.CalculateSize();
        if ((_events >= BatchEvents || _bytes >= BatchBytes) && !_isUseless)
        {
            (_events, _bytes) = (0, 0);
            _ = TellAsync(message.Sequence);
        }
    }

    private async Task TellAsync(ulong sequence)
    {
        try
        {
            await client.RecordedAsync(new RecordedRequest { Sequence = sequence }, deadline: DateTime.UtcNow + Deadlines.Read);
        }
        catch (RpcException e)
        {
            // A shim of an older version keeps everything. Any other failure is over by the next batch, or the shim is.
            _isUseless = e.StatusCode == StatusCode.Unimplemented;
        }
        catch (ObjectDisposedException)
        {
            // The container has gone meanwhile.
        }
    }
}
