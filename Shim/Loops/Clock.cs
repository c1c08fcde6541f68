namespace Shim.Loops;

/// <summary>
/// All limits and pauses of this process. The framework's own (Task.Delay, CancelAfter, Timer) would start a thread for timers in every shim; a
/// test looks that nobody uses them.
/// </summary>
internal static class Clock
{
    /// <summary>Completes after that time.</summary>
    internal static Task DelayAsync(TimeSpan time, CancellationToken cancellationToken = default) => Task.Delay(time, EventLoop.Main.Clock, cancellationToken);

    /// <summary>Waits for a task, but not longer than that: TimeoutException.</summary>
    internal static Task WithinAsync(this Task task, TimeSpan limit, CancellationToken cancellationToken = default) =>
        task.WaitAsync(limit, EventLoop.Main.Clock, cancellationToken);

    /// <inheritdoc cref="WithinAsync(Task, TimeSpan, CancellationToken)"/>
    internal static Task<T> WithinAsync<T>(this Task<T> task, TimeSpan limit, CancellationToken cancellationToken = default) =>
        task.WaitAsync(limit, EventLoop.Main.Clock, cancellationToken);

    /// <summary>A timer that is not set yet.</summary>
    internal static ITimer NewTimer(Action elapsed) =>
        EventLoop.Main.Clock.CreateTimer(static elapsed => ((Action)elapsed!)(), elapsed, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    /// <summary>Sets a timer to elapse once.</summary>
    internal static void Set(this ITimer timer, TimeSpan time) => timer.Change(time, Timeout.InfiniteTimeSpan);

    /// <summary>Stops a timer.</summary>
    internal static void Stop(this ITimer timer) => timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
}
