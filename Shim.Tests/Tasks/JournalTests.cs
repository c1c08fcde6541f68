using System.Diagnostics;
using NUnit.Framework;
using Shim.Processes;
using Shim.Tasks;
using Shim.Tests.Support;

namespace Shim.Tests.Tasks;

public sealed class JournalTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    private string _directory = null!;

    private string JournalPath => Path.Combine(_directory, "journal");

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("journal");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public async Task Append_Events_NumberedFromOneAndOnDiskWhenTheTaskIsDone()
    {
        using var journal = Open();
        Assert.That(journal.Sequence, Is.Zero);
        await journal.Append(Event(1)).WithinAsync(s_limit, "the first");
        Assert.That(File.ReadAllLines(JournalPath), Has.Length.EqualTo(1));
        await journal.Append(Event(2)).WithinAsync(s_limit, "the second");
        Assert.That((journal.Sequence, journal.Queued, journal.Length), Is.EqualTo((2L, 0L, new FileInfo(JournalPath).Length)));
        Assert.That((await ReadAsync(journal)).Select(e => (e.Sequence, e.Pid)), Is.EqualTo(new[] { (1L, 1), (2L, 2) }));
    }

    [Test]
    public async Task Append_FromManyThreads_NumbersWithoutGapInTheOrderOfTheFile()
    {
        using var journal = Open();
        await Task.WhenAll(Enumerable.Range(0, 1000).Select(i => Task.Run(() => journal.Append(Event(i))))).WithinAsync(s_limit, "a thousand events");
        Assert.That((await ReadAsync(journal)).Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(1, 1000).Select(i => (long)i)));
    }

    [Test]
    public async Task Open_Again_SequenceGoesOn()
    {
        using (var journal = Open())
        {
            await journal.Append(Event(1)).WithinAsync(s_limit, "one");
            await journal.Append(Event(2)).WithinAsync(s_limit, "two");
        }

        await File.AppendAllTextAsync(JournalPath, "{\"seq\":3,\"time\":");
        using var again = Open();
        Assert.That(again.Sequence, Is.EqualTo(2), "a torn line was never told to anyone");
        await again.Append(Event(3)).WithinAsync(s_limit, "three");
        Assert.That((await ReadAsync(again)).Select(e => (e.Sequence, e.Pid)), Is.EqualTo(new[] { (1L, 1), (2L, 2), (3L, 3) }));
    }

    [Test]
    public void Open_ForeignContent_Refused()
    {
        File.WriteAllText(JournalPath, "something else\n");
        Assert.That(Open, Throws.TypeOf<InvalidDataException>());
    }

    [TestCase(0, 5)]
    [TestCase(3, 2)]
    [TestCase(5, 0)]
    [TestCase(99, 0)]
    public async Task Read_AfterSequence_OnlyLaterOnes(long after, int count)
    {
        using var journal = Open();
        for (var i = 0; i < 5; i++)
        {
            await journal.Append(Event(i)).WithinAsync(s_limit, "an event");
        }

        var events = await ReadAsync(journal, after);
        Assert.That(events.Select(e => e.Sequence), Is.EqualTo(Enumerable.Range((int)after + 1, count).Select(i => (long)i)));
    }

    [Test]
    public async Task Read_Follow_OldOnesThenNewOnesEachOnce()
    {
        using var journal = Open();
        await journal.Append(Event(1)).WithinAsync(s_limit, "one");
        using var stop = new CancellationTokenSource();
        var seen = new List<long>();
        var following = Task.Run(async () =>
        {
            await foreach (var e in journal.ReadAsync(0, follow: true, stop.Token))
            {
                seen.Add(e.Sequence);
                if (seen.Count == 500)
                {
                    break;
                }
            }
        });
        for (var i = 2; i <= 500; i++)
        {
            var written = journal.Append(Event(i));
            if (i % 50 == 0)
            {
                await written.WithinAsync(s_limit, "an event");
            }
        }

        await following.WithinAsync(s_limit, "the follower");
        Assert.That(seen, Is.EqualTo(Enumerable.Range(1, 500).Select(i => (long)i)));
    }

    [Test]
    public async Task Read_FollowCancelled_Ends()
    {
        using var journal = Open();
        using var stop = new CancellationTokenSource();
        var following = FollowAsync(journal, stop.Token);
        await Task.Delay(50);
        Assert.That(following.IsCompleted, Is.False);
        await stop.CancelAsync();
        Assert.That(async () => await following.WaitAsync(s_limit), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task Dispose_Followers_EndAndDoNotSpin()
    {
        var journal = Open();
        using var stop = new CancellationTokenSource();
        var following = FollowAsync(journal, stop.Token);
        await Task.Delay(50);
        var before = Process.GetCurrentProcess().TotalProcessorTime;
        journal.Dispose();
        try
        {
            // Either way of ending will do.
            Assert.That(await Task.WhenAny(following, Task.Delay(2000)), Is.SameAs(following), $"used {(Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds} s");
        }
        finally
        {
            await stop.CancelAsync();
        }
    }

    [Test]
    public async Task Append_DiskFullThenSpaceAgain_OrderKeptNothingLost()
    {
        using var disk = new SmallDisk(64);
        using var journal = Journal.Open(disk.File("journal"), new TaskLog(debug: false));
        await journal.Append(Event(0)).WithinAsync(s_limit, "the first");
        disk.Fill();
        var pending = Enumerable.Range(1, 200).Select(i => journal.Append(Event(i))).ToArray();
        await Task.Delay(1500);
        Assert.That(pending[^1].IsCompleted, Is.False, "the disk is full");
        Assert.That(journal.Queued, Is.Positive);
        var onDisk = await ReadAsync(journal);
        Assert.That(onDisk.Select(e => e.Pid), Is.EqualTo(Enumerable.Range(0, onDisk.Count)), "readers see whole events only");
        disk.Empty();
        await Task.WhenAll(pending).WithinAsync(s_limit, "all events on disk");
        Assert.That(journal.Queued, Is.Zero);
        Assert.That((await ReadAsync(journal)).Select(e => (e.Sequence, e.Pid)), Is.EqualTo(Enumerable.Range(0, 201).Select(i => (i + 1L, i))));
    }

    [Test]
    public async Task Append_NobodyReads_MemoryDoesNotGrowWithTheFile()
    {
        using var journal = Open();
        using var stop = new CancellationTokenSource();

        // A subscriber that stops reading after its first event.
        await using var slow = journal.ReadAsync(0, follow: true, stop.Token).GetAsyncEnumerator(CancellationToken.None);
        await journal.Append(Event(0)).WithinAsync(s_limit, "the first");
        Assert.That(await slow.MoveNextAsync(), Is.True);
        Task last = Task.CompletedTask;
        for (var i = 1; i < 20_000; i++)
        {
            last = journal.Append(Event(i));
        }

        await last.WithinAsync(s_limit, "the last");
        for (var i = 1; i < 20_000; i++)
        {
            Assert.That(await slow.MoveNextAsync(), Is.True);
            if (slow.Current.Pid != i)
            {
                Assert.Fail($"event {i} is {slow.Current}");
            }
        }
    }

    private static TaskEvent Event(int pid) => new(
        TaskEventType.Exit, "c1", pid, false, new ExitRecord(new ExitStatus(3, 0, false), ExitReason.Exited, "", DateTimeOffset.UnixEpoch, default));

    private static async Task FollowAsync(Journal journal, CancellationToken cancellationToken)
    {
        await foreach (var _ in journal.ReadAsync(0, follow: true, cancellationToken))
        {
        }
    }

    private static async Task<List<TaskEvent>> ReadAsync(Journal journal, long after = 0)
    {
        var events = new List<TaskEvent>();
        await foreach (var e in journal.ReadAsync(after, follow: false, default))
        {
            events.Add(e);
        }

        return events;
    }

    private Journal Open() => Journal.Open(JournalPath, new TaskLog(debug: false));
}
