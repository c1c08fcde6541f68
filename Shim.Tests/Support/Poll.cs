using System.Runtime.CompilerServices;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>
/// Waits for what cannot be awaited. Looks every few milliseconds, and when the deadline has passed fails with the place of the
/// caller and with what was seen last.
/// </summary>
public static class Poll
{
    private static readonly TimeSpan s_interval = Patience.Of(TimeSpan.FromMilliseconds(10));

    /// <summary>Long enough for anything that normally takes milliseconds, on a machine that is busy.</summary>
    public static TimeSpan Deadline { get; } = TimeSpan.FromSeconds(20);

    /// <summary>Until a condition holds.</summary>
    public static Task Until(
        Func<bool> condition,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0) =>
        For(() => Task.FromResult(condition()), holds => holds, deadline, what, file, line);

    /// <summary>Until a condition holds.</summary>
    [OverloadResolutionPriority(1)]
    public static Task Until(
        Func<Task<bool>> condition,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0) =>
        For(condition, holds => holds, deadline, what, file, line);

    /// <summary>Until a value is as it should be; returns it.</summary>
    public static Task<T> For<T>(
        Func<T> probe,
        Predicate<T> accept,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0) =>
        For(() => Task.FromResult(probe()), accept, deadline, what, file, line);

    /// <summary>Until a value is as it should be; returns it. An exception of the probe counts as "not yet" and is shown if it was the last word.</summary>
    [OverloadResolutionPriority(1)]
    public static async Task<T> For<T>(
        Func<Task<T>> probe,
        Predicate<T> accept,
        TimeSpan deadline,
        string what,
        [CallerFilePath] string file = "",
        [CallerLineNumber] int line = 0)
    {
        deadline = Patience.Of(deadline);
        var end = DateTime.UtcNow + deadline;
        while (true)
        {
            string last;
            try
            {
                var value = await probe();
                if (accept(value))
                {
                    return value;
                }

                last = value is IReadOnlyCollection<Containerd.V1.Event> events
                    ? $"{events.Count} events, at the end:\n{string.Join('\n', events.TakeLast(20).Select(EventRules.Describe))}"
                    : value is System.Collections.IEnumerable items and not string
                    ? $"[{string.Join("; ", items.Cast<object?>())}]"
                    : value?.ToString() ?? "null";
            }
            catch (Exception exception) when (exception is not (ResultStateException or OutOfMemoryException))
            {
                last = $"{exception.GetType().Name}: {exception.Message}";
            }

            if (DateTime.UtcNow >= end)
            {
                throw new AssertionException($"{what}: not within {deadline.TotalSeconds:0.###} s, last seen: {last}\n  at {file}:{line}");
            }

            await Task.Delay(s_interval);
        }
    }
}
