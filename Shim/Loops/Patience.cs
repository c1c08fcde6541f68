namespace Shim.Loops;

/// <summary>A wait that ends with somebody's token, or when a limit has passed that can be set anew.</summary>
internal sealed class Patience : IDisposable
{
    private readonly CancellationTokenSource _source;
    private readonly CancellationToken _caller;
    private ITimer? _timer;

    internal Patience(CancellationToken caller)
    {
        _caller = caller;
        _source = CancellationTokenSource.CreateLinkedTokenSource(caller);
        Token = _source.Token;
    }

    internal Patience(TimeSpan limit, CancellationToken caller)
        : this(caller) => Renew(limit);

    /// <summary>Cancelled when the wait is over.</summary>
    internal CancellationToken Token { get; }

    /// <summary>Whether the limit has passed, and nobody has given up before.</summary>
    internal bool IsExhausted => Token.IsCancellationRequested && !_caller.IsCancellationRequested;

    /// <summary>It lasts so long from now on.</summary>
    internal void Renew(TimeSpan limit) => (_timer ??= Clock.NewTimer(Exhaust)).Set(limit);

    /// <inheritdoc/>
    public void Dispose()
    {
        _timer?.Dispose();
        _source.Dispose();
    }

    private void Exhaust()
    {
        try
        {
            _source.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The wait ended in the same moment.
        }
    }
}
