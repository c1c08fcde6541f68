namespace Shim.Transport;

/// <summary>
/// So many bytes and no more for bodies that do not fit into a small buffer. Who wants more than is left waits, first come, first
/// served; nobody is refused. Whoever holds a part must get on: the callers bound their transfers by the time without a byte that moves.
/// </summary>
internal sealed class MemoryBudget
{
    private readonly Lock _lock = new();
    private readonly Queue<Waiter> _waiting = [];
    private readonly long _total;
    private long _free;

    internal MemoryBudget(long total) => _free = _total = total;

    /// <summary>What nobody holds at the moment.</summary>
    internal long Free
    {
        get
        {
            lock (_lock)
            {
                return _free;
            }
        }
    }

    /// <summary>Takes a part; one larger than everything takes everything.</summary>
    internal async ValueTask<MemoryLease> TakeAsync(long bytes, CancellationToken cancellationToken)
    {
        bytes = Math.Min(bytes, _total);
        Waiter waiter;
        lock (_lock)
        {
            if (_waiting.Count == 0 && bytes <= _free)
            {
                _free -= bytes;
                return new MemoryLease(this, bytes);
            }

            waiter = new Waiter(bytes);
            _waiting.Enqueue(waiter);
        }

        using (cancellationToken.UnsafeRegister(static (state, token) => ((Waiter)state!).Turn.TrySetCanceled(token), waiter))
        {
            try
            {
                await waiter.Turn.Task.ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                // It may have been the one that all behind it were waiting for.
                GiveBack(0);
                throw;
            }
        }

        return new MemoryLease(this, bytes);
    }

    /// <summary>Gives bytes back and lets in who waits for them.</summary>
    internal void GiveBack(long bytes)
    {
        lock (_lock)
        {
            _free += bytes;
            while (_waiting.TryPeek(out var next) && (next.Turn.Task.IsCompleted || next.Bytes <= _free))
            {
                _waiting.Dequeue();
                if (next.Turn.TrySetResult())
                {
                    _free -= next.Bytes;
                }
            }
        }
    }

    private sealed class Waiter(long bytes)
    {
        internal long Bytes { get; } = bytes;

        internal TaskCompletionSource Turn { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
