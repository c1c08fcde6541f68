using System.Collections.Concurrent;
using System.Diagnostics;
using NUnit.Framework;
using Shim.Loops;
using Shim.Tests.Support;

namespace Shim.Tests.Loops;

/// <summary>The timers of a loop that has a thread of its own here.</summary>
public sealed class LoopClockTests
{
    private EventLoop _loop = null!;

    [SetUp]
    public void NewLoop() => _loop = new EventLoop(name: "test");

    [TearDown]
    public void EndLoop() => _loop.Dispose();

    [Test]
    public async Task Timers_SetAndMovedAndEndedAtRandom_EachThatIsLeftElapsesOnceAndInTime()
    {
        var random = new Random(7);
        var clock = Stopwatch.StartNew();
        var elapsed = new ConcurrentDictionary<int, List<TimeSpan>>();
        var due = new Dictionary<int, TimeSpan>();
        var timers = new List<ITimer>();
        for (var i = 0; i < 500; i++)
        {
            var number = i;
            timers.Add(_loop.Clock.CreateTimer(
                _ => elapsed.GetOrAdd(number, static _ => []).Add(clock.Elapsed), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan));
        }

        // Later than all of this takes, so that none elapses before it is moved or ended.
        var earliest = TimeSpan.FromSeconds(3);
        for (var change = 0; change < 5000; change++)
        {
            var number = random.Next(timers.Count);
            var time = earliest + TimeSpan.FromMilliseconds(random.Next(500));
            if (change % 10 == 9)
            {
                timers[number].Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                due.Remove(number);
            }
            else
            {
                due[number] = clock.Elapsed + time;
                timers[number].Change(time, Timeout.InfiniteTimeSpan);
            }
        }

        foreach (var number in due.Keys.Where(number => number % 7 == 0).ToList())
        {
            timers[number].Dispose();
            Assert.That(timers[number].Change(TimeSpan.Zero, Timeout.InfiniteTimeSpan), Is.False, "it has ended");
            due.Remove(number);
        }

        Assert.That(elapsed, Is.Empty, "the machine is too slow for this test");
        await Poll.For(() => elapsed.Count, count => count == due.Count, Poll.Deadline, "all have elapsed");
        Assert.That(elapsed.Keys, Is.EquivalentTo(due.Keys));
        Assert.That(elapsed.Values.Select(times => times.Count), Is.All.EqualTo(1));
        Assert.That(elapsed.Where(pair => pair.Value[0] < due[pair.Key] - TimeSpan.FromMilliseconds(1)).Select(pair => pair.Key), Is.Empty, "too early");
    }

    [Test]
    public async Task Timer_WithPeriod_ElapsesAgainUntilItEnds()
    {
        var count = 0;
        var timer = _loop.Clock.CreateTimer(_ => Interlocked.Increment(ref count), null, TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(5));
        await Poll.For(() => Volatile.Read(ref count), seen => seen >= 3, Poll.Deadline, "three times");
        await timer.DisposeAsync();
        await Task.Delay(50);
        var after = Volatile.Read(ref count);
        await Task.Delay(50);
        Assert.That(Volatile.Read(ref count), Is.EqualTo(after));
    }

    [Test]
    public async Task Delay_WhileTheLoopSleepsForALaterOne_EndsInTime()
    {
        var late = Task.Delay(TimeSpan.FromMinutes(5), _loop.Clock);
        await Task.Delay(TimeSpan.FromMilliseconds(20), _loop.Clock).WithinAsync(Poll.Deadline, "the earlier one");
        Assert.That(late.IsCompleted, Is.False);
    }

    [Test]
    public async Task Patience_RunsOut_OnlyThenItIsExhausted()
    {
        using var given = new CancellationTokenSource();
        using var short_ = new Shim.Loops.Patience(TimeSpan.FromMilliseconds(10), given.Token);
        using var long_ = new Shim.Loops.Patience(TimeSpan.FromMinutes(5), given.Token);
        await Poll.Until(() => short_.Token.IsCancellationRequested, Poll.Deadline, "the limit has passed");
        Assert.That(short_.IsExhausted, Is.True);
        await given.CancelAsync();
        Assert.That((long_.Token.IsCancellationRequested, long_.IsExhausted), Is.EqualTo((true, false)), "its caller has given up");
    }
}
