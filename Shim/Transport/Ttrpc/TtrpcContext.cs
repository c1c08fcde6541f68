using Containerd.Ttrpc;
using Grpc.Core;
using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>What a handler may know of the call that it serves.</summary>
internal sealed class TtrpcContext : IDisposable
{
    // Cancelled by: the caller's deadline, the end of the connection, the end of the server, a breach of the protocol on this stream.
    private readonly CancellationTokenSource _source = new();
    private ITimer? _limit;
    private volatile bool _given;

    internal TtrpcContext(Request request)
    {
        Service = request.Service;
        Method = request.Method;
        Metadata = request.Metadata.Count == 0 ? [] : [.. request.Metadata.Select(pair => KeyValuePair.Create(pair.Key, pair.Value))];
        CancellationToken = _source.Token;
        StartDeadline(request.TimeoutNano);
    }

    /// <summary>The service as the caller named it.</summary>
    internal string Service { get; }

    /// <summary>The method as the caller named it.</summary>
    internal string Method { get; }

    /// <summary>What the caller sent beside the request, in its order; keys may repeat.</summary>
    internal IReadOnlyList<KeyValuePair<string, string>> Metadata { get; }

    /// <summary>Ends the wait of a handler: the deadline has passed, the caller is gone, or the server stops.</summary>
    internal CancellationToken CancellationToken { get; }

    /// <summary>What a handler that gave up is reported as.</summary>
    internal Status Cancelled => _given
        ? new Status(StatusCode.Cancelled, "context canceled")
        : new Status(StatusCode.DeadlineExceeded, "context deadline exceeded");

    /// <summary>Cancels for another reason than the deadline.</summary>
    internal void Cancel()
    {
        if (CancellationToken.IsCancellationRequested)
        {
            return;
        }

        _given = true;
        Expire();
    }

    private void Expire()
    {
        try
        {
            _source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The call ended in the same moment.
        }
        catch (AggregateException)
        {
            // A handler's own callback threw: it is not ours to fall over, and the handler sees the cancellation.
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _limit?.Dispose();
        _source.Dispose();
    }

    // No timer for calls without a deadline, nor for one that is as good as none (a timer holds at most 49 days).
    private void StartDeadline(long nanoseconds)
    {
        if (nanoseconds < 0)
        {
            _source.Cancel();
        }
        else if (nanoseconds > 0 && TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick) is var left && left < TimeSpan.FromDays(40))
        {
            _limit = Clock.NewTimer(Expire);
            _limit.Set(left);
        }
    }
}
