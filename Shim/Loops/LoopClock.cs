using System.Diagnostics;

namespace Shim.Loops;

/// <summary>
/// The timers of an event loop: it sleeps until the first of them is due. They take no thread and no wake-up of their own, and are exact to a
/// millisecond, where the framework's follow a clock of four.
/// </summary>
/// <param name="wake">Ends the loop's sleep.</param>
internal sealed class LoopClock(Action wake) : TimeProvider
{
    private const long TicksPerMillisecond = 1_000_000;

    private readonly Lock _lock = new();

    // Guarded by the lock. A binary heap: the first is the next that is due. Each knows its place, so that it can be taken out; most are, for most limits
    // are kept.
    private readonly List<LoopTimer> _heap = [];

    // While the loop is awake it will look anyway; before its start it sleeps.
    private long _sleepsUntil = long.MaxValue;

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new LoopTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>How long the loop may sleep, in milliseconds, -1 without end. It is on its way to sleep from now on.</summary>
    internal int BeginSleep()
    {
        lock (_lock)
        {
            _sleepsUntil = _heap.Count == 0 ? long.MaxValue : _heap[0].Due;
            if (_sleepsUntil == long.MaxValue)
            {
                return -1;
            }

            // Upwards: one that wakes up too early has to go to sleep once more.
            var left = _sleepsUntil - Stopwatch.GetTimestamp() + TicksPerMillisecond - 1;
            return (int)Math.Clamp(left / TicksPerMillisecond, 0, int.MaxValue);
        }
    }

    /// <summary>The loop is awake: what is due goes to the thread pool.</summary>
    internal void EndSleep()
    {
        lock (_lock)
        {
            _sleepsUntil = long.MinValue;
            for (var now = 0L; _heap.Count > 0; )
            {
                var first = _heap[0];
                now = now == 0 ? Stopwatch.GetTimestamp() : now;
                if (first.Due > now)
                {
                    return;
                }

                Remove_NeedsLock(first);
                if (first.Period != Timeout.InfiniteTimeSpan)
                {
                    first.Due = now + Ticks(first.Period);
                    Add_NeedsLock(first);
                }

                ThreadPool.UnsafeQueueUserWorkItem(first, preferLocal: false);
            }
        }
    }

    private static long Ticks(TimeSpan time) => time.Ticks * (TicksPerMillisecond / TimeSpan.TicksPerMillisecond);

    private bool Set(LoopTimer timer, TimeSpan dueTime, TimeSpan period)
    {
        var early = false;
        lock (_lock)
        {
            if (timer.IsDisposed)
            {
                return false;
            }

            if (timer.Place >= 0)
            {
                Remove_NeedsLock(timer);
            }

            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                timer.Due = Stopwatch.GetTimestamp() + Ticks(dueTime);
                timer.Period = period == TimeSpan.Zero ? Timeout.InfiniteTimeSpan : period;
                Add_NeedsLock(timer);
                early = timer.Due < _sleepsUntil;
                if (early)
                {
                    _sleepsUntil = timer.Due;
                }
            }
        }

        if (early)
        {
            wake();
        }

        return true;
    }

    private void End(LoopTimer timer)
    {
        lock (_lock)
        {
            timer.IsDisposed = true;
            if (timer.Place >= 0)
            {
                Remove_NeedsLock(timer);
            }
        }
    }

    private void Add_NeedsLock(LoopTimer timer)
    {
        _heap.Add(timer);
        Rise_NeedsLock(timer, _heap.Count - 1);
    }

    private void Remove_NeedsLock(LoopTimer timer)
    {
        var (place, last) = (timer.Place, _heap[^1]);
        _heap.RemoveAt(_heap.Count - 1);
        timer.Place = -1;
        if (last != timer)
        {
            Rise_NeedsLock(last, place);
            Sink_NeedsLock(last);
        }
    }

    private void Rise_NeedsLock(LoopTimer timer, int place)
    {
        while (place > 0 && _heap[(place - 1) / 2] is { } parent && parent.Due > timer.Due)
        {
            Put_NeedsLock(parent, place);
            place = (place - 1) / 2;
        }

        Put_NeedsLock(timer, place);
    }

    private void Sink_NeedsLock(LoopTimer timer)
    {
        for (var place = timer.Place; (2 * place) + 1 < _heap.Count;)
        {
            var child = (2 * place) + 1;
            if (child + 1 < _heap.Count && _heap[child + 1].Due < _heap[child].Due)
            {
                child++;
            }

            if (_heap[child].Due >= timer.Due)
            {
                return;
            }

            Put_NeedsLock(_heap[child], place);
            Put_NeedsLock(timer, child);
            place = child;
        }
    }

    private void Put_NeedsLock(LoopTimer timer, int place)
    {
        _heap[place] = timer;
        timer.Place = place;
    }

    private sealed class LoopTimer(LoopClock clock, TimerCallback callback, object? state) : ITimer, IThreadPoolWorkItem
    {
        internal long Due { get; set; }

        internal TimeSpan Period { get; set; }

        internal int Place { get; set; } = -1;

        internal bool IsDisposed { get; set; }

        public bool Change(TimeSpan dueTime, TimeSpan period) => clock.Set(this, dueTime, period);

        public void Execute() => callback(state);

        public void Dispose() => clock.End(this);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
