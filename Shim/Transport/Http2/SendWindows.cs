namespace Shim.Transport.Http2;

/// <summary>
/// How many bytes the peer wants to take: on the connection, and on each stream. Who wants to send more waits until the peer says so.
/// </summary>
/// <param name="closed">Ends the waiting.</param>
internal sealed class SendWindows(CancellationToken closed)
{
    internal const int Initial = 65535;

    private readonly Lock _lock = new();

    // Guarded by the lock.
    private readonly Dictionary<int, long> _streams = [];
    private long _connection = Initial;
    private long _initial = Initial;
    private TaskCompletionSource? _changed;

    /// <summary>A stream begins, with what the peer's settings give to each.</summary>
    internal void Open(int stream)
    {
        lock (_lock)
        {
            _streams[stream] = _initial;
        }
    }

    /// <summary>A stream has ended; who still waits for it gets nothing.</summary>
    internal void Close(int stream)
    {
        lock (_lock)
        {
            _streams.Remove(stream);
            Change_NeedsLock();
        }
    }

    /// <summary>The peer takes more; stream 0 is the connection. False when that is more than the protocol allows.</summary>
    internal bool TryAdd(int stream, int bytes)
    {
        lock (_lock)
        {
            Change_NeedsLock();
            if (stream == 0)
            {
                return (_connection += bytes) <= int.MaxValue;
            }

            // A stream that has ended meanwhile is not missed.
            return !_streams.TryGetValue(stream, out var window) || (_streams[stream] = window + bytes) <= int.MaxValue;
        }
    }

    /// <summary>The peer's settings change what each stream begins with, also for those that have begun.</summary>
    internal bool TrySetInitial(uint bytes)
    {
        if (bytes > int.MaxValue)
        {
            return false;
        }

        lock (_lock)
        {
            foreach (var stream in _streams.Keys.ToList())
            {
                _streams[stream] += bytes - _initial;
            }

            _initial = bytes;
            Change_NeedsLock();
            return true;
        }
    }

    /// <summary>Takes all of it, if it is there.</summary>
    internal bool TryTake(int stream, int bytes)
    {
        lock (_lock)
        {
            if (_connection < bytes || !_streams.TryGetValue(stream, out var window) || window < bytes)
            {
                return false;
            }

            _connection -= bytes;
            _streams[stream] = window - bytes;
            return true;
        }
    }

    /// <summary>Takes at least one and at most <paramref name="bytes"/>, when they are there; 0 when the stream has ended.</summary>
    internal async ValueTask<int> TakeAsync(int stream, int bytes, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (!_streams.TryGetValue(stream, out var window))
                {
                    return 0;
                }

                var taken = (int)Math.Min(bytes, Math.Min(_connection, window));
                if (taken > 0)
                {
                    _connection -= taken;
                    _streams[stream] = window - taken;
                    return taken;
                }

                changed = (_changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            }

            using var either = CancellationTokenSource.CreateLinkedTokenSource(closed, cancellationToken);
            await changed.WaitAsync(either.Token).ConfigureAwait(false);
        }
    }

    private void Change_NeedsLock()
    {
        _changed?.TrySetResult();
        _changed = null;
    }
}
