using Containerd;
using Shim.Loops;

namespace Shim.Tasks;

/// <summary>
/// Puts the verbs of one container in line: those that change the container as a whole one at a time, execs side by side. First come,
/// first served. It is a queue, not a lock: nobody blocks a thread in it, reads never enter it, and waiting can be given up.
/// </summary>
internal sealed class VerbGate
{
    private readonly Lock _lock = new();
    private readonly Queue<Waiter> _waiting = [];
    private int _shared;
    private bool _exclusive;

    /// <summary>
    /// Waits for the turn and takes it; disposing of the result ends it. DeadlineExceeded when the turn does not come within <paramref name="limit"/>.
    /// </summary>
    internal async Task<IDisposable> EnterAsync(bool exclusive, TimeSpan limit, CancellationToken cancellationToken)
    {
        var waiter = new Waiter(this, exclusive);
        lock (_lock)
        {
            _waiting.Enqueue(waiter);
            Admit_NeedsLock();
        }

        try
        {
            await waiter.Turn.Task.WithinAsync(limit, cancellationToken).ConfigureAwait(false);
            return waiter;
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            if (waiter.Turn.TrySetCanceled(CancellationToken.None))
            {
                // It may have been the one that all behind it were waiting for.
                lock (_lock)
                {
                    Admit_NeedsLock();
                }
            }
            else
            {
                // The turn came in the same moment: give it back.
                waiter.Dispose();
            }

            throw e is TimeoutException
                ? TaskException.Timeout($"another operation on this container did not end within {limit.TotalSeconds:0} s")
                : e;
        }
    }

    private void Admit_NeedsLock()
    {
        while (!_exclusive && _waiting.TryPeek(out var next))
        {
            if (next.Exclusive && _shared > 0 && !next.Turn.Task.IsCompleted)
            {
                return;
            }

            _waiting.Dequeue();
            if (!next.Turn.TrySetResult())
            {
                // It gave up while it stood in line.
                continue;
            }

            if (next.Exclusive)
            {
                _exclusive = true;
            }
            else
            {
                _shared++;
            }
        }
    }

    private void Leave(bool exclusive)
    {
        lock (_lock)
        {
            if (exclusive)
            {
                _exclusive = false;
            }
            else
            {
                _shared--;
            }

            Admit_NeedsLock();
        }
    }

    private sealed class Waiter(VerbGate gate, bool exclusive) : IDisposable
    {
        private int _left;

        internal bool Exclusive { get; } = exclusive;

        internal TaskCompletionSource Turn { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _left, 1) == 0)
            {
                gate.Leave(Exclusive);
            }
        }
    }
}
