extern alias SupervisorAssembly;

using Containerd;
using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Tests.Tasks;
using SupervisorAssembly::Supervisor.Events;

namespace Shim.Tests.Supervisor;

/// <summary>Whatever a disk has made of the event log: it opens, tells what it can, names the place, and gives no number twice.</summary>
public sealed class EventLogDamageTests
{
    private const int Events = 60;
    private const long SmallSegment = 1000;

    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("events");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [TestCase("garbage in the middle")]
    [TestCase("NULs in the middle")]
    [TestCase("NULs and a line feed at the end")]
    [TestCase("cut in the middle of a line")]
    [TestCase("empty")]
    [TestCase("only NULs")]
    [TestCase("a directory")]
    [TestCase("a link")]
    [TestCase("no checkpoint")]
    [TestCase("another program's")]
    public void Open_LastSegmentDamaged_GoesOnBehindIt(string damage)
    {
        Write(SmallSegment);
        var path = Segments()[^1];
        Damage(path, damage);

        ulong newest;
        using (var log = Open())
        {
            newest = log.NewestSequence;
            Assert.That(log.Damage, Has.Some.Contains(path), "the path is named");
            Assert.That(newest, Is.GreaterThanOrEqualTo(damage == "cut in the middle of a line" ? Events - 1ul : Events), "no number is given twice");
            Assert.That(log.Append(Event("next", 1)).Sequence, Is.EqualTo(newest + 1));
            AssertReadable(log, newest + 1);
        }

        // And that was it: the next one finds nothing to complain of behind its checkpoint.
        using var again = Open();
        Assert.That(again.HasLostEvents, Is.False);
        Assert.That(again.NewestSequence, Is.EqualTo(newest + 1));
        Assert.That(again.TrackedContainers(), Does.Contain("next"));
        AssertReadable(again, newest + 1);
    }

    [TestCase("garbage in the middle")]
    [TestCase("empty")]
    [TestCase("a directory")]
    public void Open_OlderSegmentDamaged_OnlyReadersMissSomething(string damage)
    {
        Write(SmallSegment);
        Damage(Segments()[1], damage);
        using var log = Open();
        Assert.That(log.NewestSequence, Is.EqualTo(Events));
        Assert.That(log.HasLostEvents, Is.False, "the state of containers does not depend on it");
        Assert.That(log.Track("kept")!.ShimSequence, Is.EqualTo(1));
        log.Append(Event("next", 1));
        AssertReadable(log, Events + 1);
    }

    [Test]
    public void Open_LostEventsOfARunningContainer_ItIsToBeToldAgainAndAnEndedOneIsNot()
    {
        using (var log = Open())
        {
            log.Append(Event("running", 1));
            log.Append(Event("ended", 1));
            log.Append(Event("ended", 2) with { Type = EventType.Exited, Exit = new ExitRecord { Status = 7, Reason = ExitReason.Exited } });
            log.Append(Event("running", 2) with { Type = EventType.Started });
        }

        File.AppendAllText(Segments()[0], "{\"n\":5,\"type\":oops}\n");
        using var again = Open();
        Assert.That(again.Damage.Single(), Does.Contain(Segments()[0]).And.Contain("at offset "));
        Assert.That(again.HasLostEvents, Is.True);
        Assert.That(again.Track("running")!.ShimSequence, Is.Zero);
        Assert.That((again.Track("ended")!.ShimSequence, again.Track("ended")!.Exit!.Status), Is.EqualTo((2ul, 7u)));
        Assert.That(again.Append(Event("x", 1)).Sequence, Is.GreaterThan(5));
    }

    [Test]
    public void Open_AllSegmentsUnreadable_BeginsAnewBehindThem()
    {
        Write(SmallSegment);
        foreach (var path in Segments())
        {
            Damage(path, "a directory");
        }

        using var log = Open();
        Assert.That(log.NewestSequence, Is.GreaterThan(Events));
        Assert.That(log.TrackedContainers(), Is.Empty);
        var next = log.Append(Event("x", 1)).Sequence;
        var reader = log.ReadAfter(next - 1);
        Assert.That(reader.TryRead(out var record), Is.True);
        Assert.That(record.Sequence, Is.EqualTo(next));
    }

    [Test]
    public void Open_RandomDamage_OpensAndNoNumberComesTwice([Range(1, 20)] int seed)
    {
        Write(SmallSegment);
        var random = new Random(seed);
        foreach (var path in Segments().Where(_ => random.Next(2) == 0))
        {
            var bytes = File.ReadAllBytes(path);
            for (var i = 0; i < 20; i++)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            // Whole lines only: where the end is cut off nobody can know what there was.
            bytes[^1] = (byte)'\n';
            File.WriteAllBytes(path, bytes);
        }

        using var log = Open();
        Assert.That(log.NewestSequence, Is.GreaterThanOrEqualTo(Events - 1ul));
        var last = log.Append(Event("next", 1)).Sequence;
        AssertReadable(log, last);
    }

    [Test]
    public void Append_DiskFull_SaysSoAndRecovers()
    {
        using var disk = new SmallDisk(64);
        using var log = EventLog.Open(disk.Path);
        Fill(log, 5);
        Assert.That(() => log.RequireRoom(), Throws.Nothing);
        disk.Fill();
        var error = Assert.Throws<IOException>(() => Fill(log, 1000))!;
        Assert.That(error.Message, Does.Contain(disk.Path).And.Contain("No space left"));
        Assert.That(ErrorKinds.OfMachine(error), Is.EqualTo(ErrorKind.Exhausted));
        Assert.That(log.Trouble, Does.Contain("cannot be recorded").And.Contain(disk.Path));
        Assert.That(() => log.RequireRoom(), Throws.InstanceOf<IOException>());
        var before = log.NewestSequence;
        disk.Empty();
        Assert.That(() => log.RequireRoom(), Throws.Nothing);
        Assert.That(log.Trouble, Is.Empty);
        Assert.That(log.Append(Event("next", 1)).Sequence, Is.EqualTo(before + 1));
        AssertReadable(log, before + 1);
        log.Dispose();
        using var again = EventLog.Open(disk.Path);
        Assert.That(again.Damage, Is.Empty, "blanks are no damage");
        Assert.That(again.NewestSequence, Is.EqualTo(before + 1));
    }

    private static void Damage(string path, string how)
    {
        var bytes = File.ReadAllBytes(path);
        var text = File.ReadAllLines(path);
        var middle = text.Length / 2;
        switch (how)
        {
            case "garbage in the middle":
                text[middle] = new string('\u00a7', 200);
                File.WriteAllLines(path, text);
                break;
            case "NULs in the middle":
                text[middle] = new string('\0', text[middle].Length);
                File.WriteAllLines(path, text);
                break;
            case "NULs and a line feed at the end":
                File.AppendAllText(path, new string('\0', 500) + "\n");
                break;
            case "cut in the middle of a line":
                File.WriteAllBytes(path, bytes[..^10]);
                break;
            case "empty":
                File.WriteAllBytes(path, []);
                break;
            case "only NULs":
                File.WriteAllBytes(path, new byte[bytes.Length]);
                break;
            case "a directory":
                File.Delete(path);
                Directory.CreateDirectory(path);
                break;
            case "a link":
                File.Delete(path);
                File.CreateSymbolicLink(path, "/dev/null");
                break;
            case "no checkpoint":
                File.WriteAllLines(path, text.Skip(1));
                break;
            case "another program's":
                File.WriteAllLines(path, Enumerable.Repeat("[warn] something else", 100));
                break;
        }
    }

    /// <summary>A reader from the beginning, or from where it may begin, comes to the end, in order, and does not turn in circles.</summary>
    private static void AssertReadable(EventLog log, ulong last)
    {
        var reader = log.ReadAfter(log.OldestSequence - 1);
        var before = 0ul;
        for (var i = 0; i < 100_000 && reader.TryRead(out var record); i++)
        {
            Assert.That(record.Sequence, Is.GreaterThan(before));
            before = record.Sequence;
        }

        Assert.That(before, Is.EqualTo(last));
        Assert.That(reader.Position, Is.EqualTo(log.NewestSequence));
        Assert.That(reader.WaitAsync(CancellationToken.None).IsCompleted, Is.False, "it waits for what is not there yet");
    }

    private static EventRecord Event(string id, ulong shimSequence) =>
        new() { Type = shimSequence == 1 ? EventType.Created : EventType.Updated, ContainerId = id, Pid = 10, Init = true, ShimSequence = shimSequence };

    private static void Fill(EventLog log, int count)
    {
        for (var i = 0; i < count; i++)
        {
            log.Append(Event("filler", 1));
        }
    }

    private void Write(long segmentBytes)
    {
        using var log = EventLog.Open(_directory, segmentBytes, keptSegments: 100);
        log.Append(Event("kept", 1));
        Fill(log, Events - 1);
        Assert.That(Segments(), Has.Length.GreaterThanOrEqualTo(3));
    }

    private EventLog Open() => EventLog.Open(_directory, SmallSegment, keptSegments: 1000);

    private string[] Segments() => [.. Directory.GetFileSystemEntries(_directory, "*.events").Order(StringComparer.Ordinal)];
}
