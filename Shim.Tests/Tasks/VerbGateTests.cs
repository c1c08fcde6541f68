using Containerd;
using NUnit.Framework;
using Shim.Tasks;
using Shim.Tests.Support;

namespace Shim.Tests.Tasks;

public sealed class VerbGateTests
{
    private static readonly TimeSpan s_long = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(10);

    [Test]
    public async Task Enter_Free_AtOnce()
    {
        var gate = new VerbGate();
        foreach (var exclusive in new[] { true, false, true })
        {
            using var turn = await Enter(gate, exclusive);
        }
    }

    [Test]
    public async Task Enter_Shared_SideBySide()
    {
        var gate = new VerbGate();
        var turns = new List<IDisposable>();
        for (var i = 0; i < 100; i++)
        {
            turns.Add(await Enter(gate, exclusive: false));
        }

        turns.ForEach(turn => turn.Dispose());
        using var after = await Enter(gate, exclusive: true);
    }

    [TestCase(true, true)]
    [TestCase(true, false)]
    [TestCase(false, true)]
    public async Task Enter_OneOfThemExclusive_Waits(bool first, bool second)
    {
        var gate = new VerbGate();
        var turn = await Enter(gate, first);
        var waiting = gate.EnterAsync(second, s_long, default);
        await Task.Delay(50);
        Assert.That(waiting.IsCompleted, Is.False);
        turn.Dispose();
        using var next = await waiting.WithinAsync(s_soon, "the turn");
    }

    [Test]
    public async Task Enter_ManyWaiting_FirstComeFirstServed()
    {
        // A shared one does not overtake an exclusive one that came earlier, or execs could starve a deletion.
        var gate = new VerbGate();
        var order = new List<int>();
        var blocking = await Enter(gate, exclusive: true);
        bool[] exclusive = [false, false, true, false, true, true, false, false];
        var waiting = exclusive.Select((kind, i) => TakeAsync(gate, kind, i)).ToArray();
        blocking.Dispose();
        await Task.WhenAll(waiting).WithinAsync(s_soon, "all turns");
        lock (order)
        {
            Assert.That(order.Where(i => exclusive[i]), Is.EqualTo(new[] { 2, 4, 5 }));
            Assert.That(order.Take(2), Is.EquivalentTo(new[] { 0, 1 }));
            Assert.That(order.IndexOf(3), Is.EqualTo(3));
            Assert.That(order.TakeLast(2), Is.EquivalentTo(new[] { 6, 7 }));
        }

        async Task TakeAsync(VerbGate gate, bool kind, int number)
        {
            using var turn = await gate.EnterAsync(kind, s_long, default);
            lock (order)
            {
                order.Add(number);
            }

            await Task.Delay(20);
        }
    }

    [Test]
    public async Task Enter_WaitingExclusiveHeadGivesUp_ThoseBehindItEnter()
    {
        var gate = new VerbGate();
        using var running = await Enter(gate, exclusive: false);
        using var giveUp = new CancellationTokenSource();
        var head = gate.EnterAsync(exclusive: true, s_long, giveUp.Token);
        var behind = gate.EnterAsync(exclusive: false, s_long, default);
        await Task.Delay(50);
        Assert.That(behind.IsCompleted, Is.False, "it stands behind the exclusive one");
        await giveUp.CancelAsync();
        Assert.That(async () => await head, Throws.InstanceOf<OperationCanceledException>());
        using var entered = await behind.WithinAsync(s_soon, "the turn of the one behind");
    }

    [Test]
    public async Task Enter_TimeOver_DeadlineExceededAndThoseBehindItEnter()
    {
        var gate = new VerbGate();
        using var running = await Enter(gate, exclusive: false);
        var head = gate.EnterAsync(exclusive: true, TimeSpan.FromMilliseconds(100), default);
        var behind = gate.EnterAsync(exclusive: false, s_long, default);
        Assert.That(async () => await head, Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.DeadlineExceeded));
        using var entered = await behind.WithinAsync(s_soon, "the turn of the one behind");
    }

    [Test]
    public async Task Enter_GivesUpWhileExclusiveRuns_ItsTurnIsSkipped()
    {
        var gate = new VerbGate();
        var running = await Enter(gate, exclusive: true);
        using var giveUp = new CancellationTokenSource();
        var abandoned = gate.EnterAsync(exclusive: true, s_long, giveUp.Token);
        var behind = gate.EnterAsync(exclusive: true, s_long, default);
        await giveUp.CancelAsync();
        Assert.That(async () => await abandoned, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(behind.IsCompleted, Is.False);
        running.Dispose();
        using var entered = await behind.WithinAsync(s_soon, "the turn of the one behind");
    }

    [Test]
    public async Task Dispose_Twice_EndsOneTurnOnly()
    {
        var gate = new VerbGate();
        var first = await Enter(gate, exclusive: true);
        first.Dispose();
        using var second = await Enter(gate, exclusive: true);
        first.Dispose();
        var third = gate.EnterAsync(exclusive: true, s_long, default);
        await Task.Delay(50);
        Assert.That(third.IsCompleted, Is.False, "the second turn still lasts");
        second.Dispose();
        (await third.WithinAsync(s_soon, "the third turn")).Dispose();
    }

    [Test]
    public async Task Enter_TenThousandRandomOperations_NeverTwoExclusiveAndNobodyIsForgotten()
    {
        var gate = new VerbGate();
        var shared = 0;
        var exclusive = 0;
        var violations = 0;
        var entered = 0;
        var gaveUp = 0;
        var workers = Enumerable.Range(0, 50).Select(worker => Task.Run(async () =>
        {
            var random = new Random(worker);
            for (var i = 0; i < 200; i++)
            {
                var alone = random.Next(4) == 0;
                using var patience = new CancellationTokenSource();
                var limit = s_long;
                switch (random.Next(5))
                {
                    case 0:
                        patience.CancelAfter(TimeSpan.FromMilliseconds(random.Next(3)));
                        break;
                    case 1:
                        limit = TimeSpan.FromMilliseconds(random.Next(1, 3));
                        break;
                }

                try
                {
                    using var turn = await gate.EnterAsync(alone, limit, patience.Token);
                    Interlocked.Increment(ref entered);
                    var others = alone ? Interlocked.Increment(ref exclusive) - 1 + Volatile.Read(ref shared) : Volatile.Read(ref exclusive);
                    if (!alone)
                    {
                        Interlocked.Increment(ref shared);
                        others += Volatile.Read(ref exclusive);
                    }

                    if (others != 0)
                    {
                        Interlocked.Increment(ref violations);
                    }

                    if (random.Next(3) == 0)
                    {
                        await Task.Yield();
                    }

                    if (alone)
                    {
                        Interlocked.Decrement(ref exclusive);
                    }
                    else
                    {
                        Interlocked.Decrement(ref shared);
                    }
                }
                catch (Exception e) when (e is OperationCanceledException or TaskException { Kind: ErrorKind.DeadlineExceeded })
                {
                    Interlocked.Increment(ref gaveUp);
                }
            }
        }));
        await Task.WhenAll(workers).WithinAsync(s_long, "ten thousand operations");
        Assert.That(violations, Is.Zero);
        Assert.That((entered + gaveUp, shared, exclusive), Is.EqualTo((10_000, 0, 0)));
        Assert.That(gaveUp, Is.Positive, "the interesting path was taken");
        using var last = await Enter(gate, exclusive: true);
    }

    private static Task<IDisposable> Enter(VerbGate gate, bool exclusive) => gate.EnterAsync(exclusive, s_long, default).WithinAsync(s_soon, "the turn");
}
