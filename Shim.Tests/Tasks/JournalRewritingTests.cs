using System.Text;
using Containerd;
using NUnit.Framework;
using Shim.Processes;
using Shim.Stdio;
using Shim.Tasks;
using Shim.Tests.Support;

namespace Shim.Tests.Tasks;

/// <summary>A journal that is told what has been recorded stays small, and nobody who reads it notices.</summary>
public sealed class JournalRewritingTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    private string _directory = null!;

    private string JournalPath => Path.Combine(_directory, "journal");

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("journal");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public async Task Recorded_InBatches_FileStaysSmallAndNumbersGoOn()
    {
        long last;
        using (var journal = Open())
        {
            await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
            var most = 0L;
            for (var i = 0; i < 2000; i++)
            {
                await ExecAsync(journal, 1000 + i);
                if (i % 64 == 0)
                {
                    journal.Recorded(journal.Sequence);
                }

                most = Math.Max(most, journal.Length);
            }

            last = journal.Sequence;
            Assert.That(last, Is.EqualTo(8001));
            Assert.That(most, Is.LessThan(400_000), "the largest that it ever was");
            Assert.That(new FileInfo(JournalPath).Length, Is.EqualTo(journal.Length));
            Assert.That(File.GetUnixFileMode(JournalPath), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }

        using var again = Open();
        Assert.That(again.Sequence, Is.EqualTo(last));
        Assert.That((await HistoryOf(again)).Init.Pid, Is.EqualTo(1), "what a successor needs");
    }

    [Test]
    public async Task Recorded_EverythingIncludingTheNewest_NumbersGoOnAfterItAllTheSame()
    {
        using (var journal = Open())
        {
            await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
            for (var i = 0; i < 300; i++)
            {
                await journal.Append(Of(TaskEventType.Update, 1, init: true)).WithinAsync(s_limit, "an update");
            }

            journal.Recorded(long.MaxValue);
            await Poll.Until(() => journal.Length < 2000, s_limit, "the file is rewritten");
        }

        Assert.That(File.ReadAllLines(JournalPath)[0], Is.EqualTo("{\"recorded\":301,\"newest\":301}"));
        using var again = Open();
        Assert.That(again.Sequence, Is.EqualTo(301));
        await again.Append(Of(TaskEventType.Update, 1, init: true)).WithinAsync(s_limit, "one more");
        Assert.That((await ReadAsync(again, 301)).Select(e => e.Sequence), Is.EqualTo(new[] { 302L }));
    }

    [Test]
    public async Task NobodyRecords_NothingIsDropped()
    {
        using var journal = Open();
        for (var i = 0; i < 500; i++)
        {
            await ExecAsync(journal, 1000 + i);
        }

        Assert.That((await ReadAsync(journal)).Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(1, 2000).Select(i => (long)i)));
    }

    [Test]
    public async Task NobodyRecords_Alone_TheLastThousandStay()
    {
        using var journal = Journal.Open(JournalPath, new TaskLog(debug: false), sizeAlone: 200_000);
        await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
        for (var i = 0; i < 2000; i++)
        {
            await ExecAsync(journal, 1000 + i);
        }

        Assert.That(journal.Length, Is.LessThan(700_000));
        var events = await ReadAsync(journal);
        Assert.That(events[0].Type, Is.EqualTo(TaskEventType.Create));
        Assert.That(events.TakeLast(1024).Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(8001 - 1023, 1024).Select(i => (long)i)));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public async Task Recorded_AnyLife_AddsUpToTheSameForASuccessor(int seed)
    {
        var random = new Random(seed);
        var everything = new List<TaskEvent>();
        using var journal = Open();
        foreach (var what in Life(random, 3000))
        {
            var written = journal.Append(what);
            everything.Add(what with { Sequence = journal.Sequence });
            if (random.Next(200) == 0)
            {
                await written.WithinAsync(s_limit, "an event");
                journal.Recorded(random.NextInt64(journal.Sequence + 1));
            }
        }

        await Poll.Until(() => journal.Queued == 0, s_limit, "all written");
        journal.Recorded(journal.Sequence);
        await journal.Append(Of(TaskEventType.Update, 1, init: true)).WithinAsync(s_limit, "the last");
        var expected = new History();
        everything.ForEach(expected.Apply);
        var actual = await HistoryOf(journal);
        Assert.That((actual.State, actual.HasOom), Is.EqualTo((expected.State, expected.HasOom)));
        Assert.That(Facts(actual), Is.EqualTo(Facts(expected)));
        Assert.That(Facts(actual), Is.Not.Empty);
        Assert.That(File.ReadLines(JournalPath).Count(), Is.LessThan(3000), "what this is about");

        static List<string> Facts(History history) =>
            [.. history.Execs.Prepend(history.Init).OrderBy(process => process.Pid).Select(process => $"{process.Pid} {process.IsInit} {process.Trace} {process.StartedAt is null} {process.Exit?.Status}")];
    }

    [Test]
    public async Task Recorded_WhileReadersFollow_EachSeesEveryEventOnce()
    {
        const int count = 6000;
        using var journal = Open();
        await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
        using var stop = new CancellationTokenSource();
        var slowest = 0L;
        var readers = Enumerable.Range(0, 3).Select(reader => Task.Run(async () =>
        {
            var seen = new List<long>();
            await foreach (var e in journal.ReadAsync(0, follow: true, stop.Token))
            {
                seen.Add(e.Sequence);
                if (reader == 0)
                {
                    // This one is the supervisor.
                    Interlocked.Exchange(ref slowest, e.Sequence);
                    if (e.Sequence % 100 == 0)
                    {
                        journal.Recorded(e.Sequence);
                    }
                }
                else if (e.Sequence % 1000 == 0)
                {
                    await Task.Delay(20 * reader);
                }

                if (e.Sequence == count)
                {
                    break;
                }
            }

            return seen;
        })).ToArray();
        for (var i = 2; i <= count; i++)
        {
            var written = journal.Append(Of(TaskEventType.Update, 1, init: true));
            if (i % 500 == 0)
            {
                await written.WithinAsync(s_limit, "an event");
                await Task.Delay(10);
            }
        }

        foreach (var reader in readers)
        {
            Assert.That(await reader.WithinAsync(s_limit, "a reader"), Is.EqualTo(Enumerable.Range(1, count).Select(i => (long)i)));
        }

        journal.Recorded(count);
        await journal.Append(Of(TaskEventType.Update, 1, init: true)).WithinAsync(s_limit, "the last");
        await Poll.Until(() => File.ReadLines(JournalPath).Count() < count / 2, s_limit, "what this is about: the file was rewritten");
    }

    [Test]
    public async Task Recorded_ByOneWhileAnotherStandsStill_TheOtherMissesNothing()
    {
        using var journal = Open();
        await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
        await using var slow = journal.ReadAsync(0, follow: true, default).GetAsyncEnumerator(CancellationToken.None);
        Assert.That(await slow.MoveNextAsync(), Is.True);
        for (var i = 0; i < 500; i++)
        {
            await ExecAsync(journal, 1000 + i);
            journal.Recorded(journal.Sequence);
        }

        for (var i = 2L; i <= 2001; i++)
        {
            Assert.That(await slow.MoveNextAsync(), Is.True);
            Assert.That(slow.Current.Sequence, Is.EqualTo(i));
        }

        await ExecAsync(journal, 5000);
        Assert.That(journal.Length, Is.LessThan(400_000), "once it has read on");
    }

    [Test]
    public async Task Recorded_WhileAnotherStandsStillForEver_TheDiskDoesNotFillAndHeIsTold()
    {
        using var journal = Open();
        await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
        await using var slow = journal.ReadAsync(0, follow: true, default).GetAsyncEnumerator(CancellationToken.None);
        Assert.That(await slow.MoveNextAsync(), Is.True);
        var large = Of(TaskEventType.ExecAdded, 7) with { Trace = new ProcessTrace(1, new StreamAddresses("", new string('m', 60_000), "", false), "", "") };
        for (var i = 0; i < 600; i++)
        {
            await journal.Append(large).WithinAsync(s_limit, "a large event");
            journal.Recorded(journal.Sequence);
        }

        Assert.That(journal.Length, Is.LessThan(20 * 1024 * 1024));
        Assert.That(
            async () =>
            {
                while (await slow.MoveNextAsync())
                {
                    // What it has in its buffer.
                }
            },
            Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.Precondition));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(40)]
    [TestCase(5000)]
    public async Task Open_DiedInTheMiddleOfARewriting_TheOldFileStands(int written)
    {
        using (var journal = Open())
        {
            await ExecAsync(journal, 1000);
        }

        await File.WriteAllBytesAsync(JournalPath + ".new", Encoding.ASCII.GetBytes("{\"recorded\":4,\"newest\":4}\n".PadRight(5000))[..written]);
        using var again = Open();
        Assert.That((await ReadAsync(again)).Select(e => e.Sequence), Is.EqualTo(new[] { 1L, 2, 3, 4 }));
        Assert.That(File.Exists(JournalPath + ".new"), Is.False);
    }

    [Test]
    public async Task Recorded_DiskFull_TheOldFileStandsAndWorks()
    {
        using var disk = new SmallDisk(512);
        using var journal = Journal.Open(disk.File("journal"), new TaskLog(debug: false));
        await journal.Append(Of(TaskEventType.Create, 1, init: true)).WithinAsync(s_limit, "the first");
        for (var i = 0; i < 100; i++)
        {
            await ExecAsync(journal, 1000 + i);
        }

        disk.Fill();
        var before = journal.Length;
        journal.Recorded(journal.Sequence);
        await Task.Delay(200);
        Assert.That((await ReadAsync(journal)).Count, Is.EqualTo(401));
        Assert.That(journal.Length, Is.EqualTo(before));
        Assert.That(File.Exists(disk.File("journal.new")), Is.False);
        disk.Empty();
        for (var i = 0; i < 100; i++)
        {
            await ExecAsync(journal, 2000 + i);
            journal.Recorded(journal.Sequence);
        }

        Assert.That(journal.Length, Is.LessThan(before), "with room again it is rewritten");
    }

    private static async Task ExecAsync(Journal journal, int pid)
    {
        _ = journal.Append(Of(TaskEventType.ExecAdded, pid));
        _ = journal.Append(Of(TaskEventType.Start, pid));
        _ = journal.Append(Of(TaskEventType.Exit, pid));
        await journal.Append(Of(TaskEventType.Delete, pid)).WithinAsync(s_limit, "an exec");
    }

    /// <summary>What a container may go through, in an order in which it may.</summary>
    private static IEnumerable<TaskEvent> Life(Random random, int count)
    {
        yield return Of(TaskEventType.Create, 1, init: true);
        yield return Of(TaskEventType.Start, 1, init: true);
        var (running, ended, paused) = (new List<int>(), new List<int>(), false);
        for (var i = 0; i < count; i++)
        {
            switch (random.Next(paused ? 4 : 12))
            {
                case 0 or 1 when running.Count > 0:
                    ended.Add(running[0]);
                    yield return Of(TaskEventType.Exit, running[0]);
                    running.RemoveAt(0);
                    break;
                case 2 when ended.Count > 0:
                    yield return Of(TaskEventType.Delete, ended[^1]);
                    ended.RemoveAt(ended.Count - 1);
                    break;
                case 3:
                    yield return Of(paused ? TaskEventType.Resume : TaskEventType.Pause, 1, init: true);
                    paused = !paused;
                    break;
                case 4 when random.Next(100) == 0:
                    yield return Of(TaskEventType.Oom, 1, init: true);
                    break;
                case 5:
                    yield return Of(TaskEventType.Update, 1, init: true);
                    break;
                case >= 6 when running.Count < 20:
                    // Pids come again.
                    var pid = Enumerable.Range(1, 1000).Select(_ => random.Next(2, 100)).First(pid => !running.Contains(pid));
                    if (ended.Remove(pid))
                    {
                        yield return Of(TaskEventType.Delete, pid);
                    }

                    running.Add(pid);
                    yield return Of(TaskEventType.ExecAdded, pid);
                    yield return Of(TaskEventType.Start, pid);
                    break;
            }
        }
    }

    private static TaskEvent Of(TaskEventType type, int pid, bool init = false) =>
        new(type, "c1", pid, init, type == TaskEventType.Exit ? ExitOf(pid) : null)
        {
            Trace = type is TaskEventType.Create or TaskEventType.ExecAdded
                ? new ProcessTrace((ulong)pid * 7, new StreamAddresses("", "/out", "", false), "", "")
                : null,
        };

    private static ExitRecord ExitOf(int pid) =>
        new(new ExitStatus(pid % 256, 0, false), ExitReason.Exited, "", DateTimeOffset.UnixEpoch, default);

    private static Task<History> HistoryOf(Journal journal) => History.ReadAsync(journal).WithinAsync(s_limit, "the history");

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
