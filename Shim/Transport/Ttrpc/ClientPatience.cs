using Grpc.Core;
using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>How long a caller waits for a call: until its deadline, if it has one, or until it gives up.</summary>
internal sealed class ClientPatience : IDisposable
{
    private readonly Patience? _limited;
    private readonly CancellationToken _caller;

    internal ClientPatience(TimeSpan timeout, CancellationToken caller)
    {
        _caller = caller;
        if (timeout != Timeout.InfiniteTimeSpan)
        {
            _limited = new Patience(timeout, caller);
        }

        Token = _limited?.Token ?? caller;
    }

    /// <summary>Cancelled when the wait is over.</summary>
    internal CancellationToken Token { get; }

    /// <summary>Why it is over.</summary>
    internal RpcException Error => new(_caller.IsCancellationRequested
        ? new Status(StatusCode.Cancelled, "context canceled")
        : new Status(StatusCode.DeadlineExceeded, "context deadline exceeded"));

    /// <inheritdoc/>
    public void Dispose() => _limited?.Dispose();
}
