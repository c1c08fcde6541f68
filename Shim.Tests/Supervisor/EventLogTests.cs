extern alias SupervisorAssembly;

using Containerd;
using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;
using SupervisorAssembly::Supervisor.Events;

namespace Shim.Tests.Supervisor;

/// <summary>One ordered stream, numbered without a gap, whatever happens to the supervisor and to its readers.</summary>
public sealed class EventLogTests
{
    private const long SmallSegment = 1000;
    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("events");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void Append_First_IsNumberOne()
    {
        using var log = EventLog.Open(_directory);
        Assert.That(log.NewestSequence, Is.Zero);
        Assert.That(log.Append(Created("a")).Sequence, Is.EqualTo(1));
        Assert.That(log.OldestSequence, Is.EqualTo(1));
    }

    [Test]
    public void ReadAfter_AnyPosition_GivesTheRestInOrder()
    {
        using var log = EventLog.Open(_directory);
        Fill(log, 10);
        Assert.That(ReadAll(log, 0), Is.EqualTo(Numbers(1, 10)));
        Assert.That(ReadAll(log, 7), Is.EqualTo(Numbers(8, 10)));
        Assert.That(ReadAll(log, 10), Is.Empty);
    }

    [Test]
    public void ReadAfter_TheFuture_IsInvalid()
    {
        using var log = EventLog.Open(_directory);
        Fill(log, 2);
        Assert.That(() => log.ReadAfter(3), Throws.InstanceOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.InvalidArgument));
    }

    [Test]
    public void Append_ManySegments_OldOnesGoAndReadersCrossTheRest()
    {
        using var log = EventLog.Open(_directory, SmallSegment, keptSegments: 3);
        Fill(log, 100);
        Assert.That(Directory.GetFiles(_directory), Has.Length.EqualTo(3));
        Assert.That(log.OldestSequence, Is.GreaterThan(50));
        Assert.That(ReadAll(log, log.OldestSequence - 1), Is.EqualTo(Numbers(log.OldestSequence, 100)));
        Assert.That(
            () => ReadAll(log, log.OldestSequence - 2),
            Throws.InstanceOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.Precondition));
    }

    [Test]
    public void TryRead_ReaderStaysOpenAcrossSegments_MissesNothing()
    {
        using var log = EventLog.Open(_directory, SmallSegment, keptSegments: 100);
        var reader = log.ReadAfter(0);
        for (ulong i = 1; i <= 50; i++)
        {
            Fill(log, 1);
            Assert.That(reader.TryRead(out var record), Is.True);
            Assert.That(record.Sequence, Is.EqualTo(i));
            Assert.That(reader.TryRead(out _), Is.False);
        }
    }

    [Test]
    public void TryRead_ReaderOvertakenByTheEnd_IsToldSo()
    {
        using var log = EventLog.Open(_directory, SmallSegment, keptSegments: 2);
        Fill(log, 1);
        var reader = log.ReadAfter(0);
        Assert.That(reader.TryRead(out _), Is.True);
        Fill(log, 100);
        Assert.That(
            () =>
            {
                while (reader.TryRead(out _))
                {
                    // What it has buffered it may still hand out.
                }
            },
            Throws.InstanceOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.Precondition));
    }

    [Test]
    public void Open_Again_GoesOnWhereItWas([Values(EventLog.DefaultSegmentBytes, SmallSegment)] long segmentBytes)
    {
        using (var log = EventLog.Open(_directory, segmentBytes, keptSegments: 100))
        {
            log.Append(Created("kept"));
            log.Append(Created("gone"));
            Fill(log, 40);
            log.Append(new EventRecord { Type = EventType.Deleted, ContainerId = "gone", Init = true });
        }

        using var again = EventLog.Open(_directory, segmentBytes, keptSegments: 100);
        Assert.That(again.NewestSequence, Is.EqualTo(43));
        Assert.That(again.TrackedContainers(), Is.EquivalentTo(new[] { "kept", "filler" }));
        Assert.That(again.Track("kept")!.ShimSequence, Is.EqualTo(1));
        Assert.That(again.Append(Created("next")).Sequence, Is.EqualTo(44));
        Assert.That(ReadAll(again, 0), Is.EqualTo(Numbers(1, 44)));
    }

    [Test]
    public void Open_OldSegmentsGone_ContainersAreStillKnown()
    {
        using (var log = EventLog.Open(_directory, SmallSegment, keptSegments: 2))
        {
            log.Append(Created("kept"));
            Fill(log, 100);
        }

        using var again = EventLog.Open(_directory, SmallSegment, keptSegments: 2);
        Assert.That(again.Track("kept"), Has.Property(nameof(ContainerTrack.ShimSequence)).EqualTo(1).And.Property(nameof(ContainerTrack.InitPid)).EqualTo(10));
    }

    [Test]
    public void Open_TornLastLine_IsCutAndItsNumberGivenAgain()
    {
        using (var log = EventLog.Open(_directory))
        {
            Fill(log, 3);
        }

        File.AppendAllText(Directory.GetFiles(_directory).Single(), "{\"n\":4,\"type\":\"Exi");
        using var again = EventLog.Open(_directory);
        Assert.That(again.NewestSequence, Is.EqualTo(3));
        Assert.That(again.Append(Created("x")).Sequence, Is.EqualTo(4));
        Assert.That(ReadAll(again, 0), Is.EqualTo(Numbers(1, 4)));
    }

    [Test]
    public void Open_DiedWhileANewSegmentBegan_TheOneBeforeIsTheLast()
    {
        using (var log = EventLog.Open(_directory))
        {
            Fill(log, 3);
        }

        File.WriteAllText(Path.Join(_directory, "00000000000000000004.events.new"), "{\"containers\":{\"fil");
        using var again = EventLog.Open(_directory);
        Assert.That(again.Append(Created("x")).Sequence, Is.EqualTo(4));
        Assert.That(again.Damage, Is.Empty);
        Assert.That(again.HasLostEvents, Is.False);
    }

    [Test]
    public async Task WaitAfter_Append_Wakes()
    {
        using var log = EventLog.Open(_directory);
        var waiting = log.WaitAfterAsync(0, CancellationToken.None);
        Assert.That(waiting.IsCompleted, Is.False);
        Fill(log, 1);
        await waiting.WaitAsync(TimeSpan.FromSeconds(5));
        Assert.That(log.WaitAfterAsync(0, CancellationToken.None).IsCompleted, Is.True);
    }

    [Test]
    public async Task Append_ManyWritersAndReaders_EveryReaderSeesEveryNumberOnce()
    {
        const int Writers = 4;
        const int Each = 500;
        using var log = EventLog.Open(_directory, segmentBytes: 20_000, keptSegments: 1000);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var readers = Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            var reader = log.ReadAfter(0);
            for (ulong expected = 1; expected <= Writers * Each;)
            {
                if (reader.TryRead(out var record))
                {
                    Assert.That(record.Sequence, Is.EqualTo(expected++));
                }
                else
                {
                    await reader.WaitAsync(limit.Token);
                }
            }
        })).ToArray();
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(_ => Task.Run(() => Fill(log, Each))));
        await Task.WhenAll(readers);
    }

    private static EventRecord Created(string id) => new() { Type = EventType.Created, ContainerId = id, Pid = 10, Init = true, ShimSequence = 1 };

    private static void Fill(EventLog log, int count)
    {
        for (var i = 0; i < count; i++)
        {
            log.Append(Created("filler"));
        }
    }

    private static ulong[] Numbers(ulong first, ulong last) => [.. Enumerable.Range(0, (int)(last - first + 1)).Select(i => first + (ulong)i)];

    private static List<ulong> ReadAll(EventLog log, ulong after)
    {
        var reader = log.ReadAfter(after);
        var numbers = new List<ulong>();
        while (reader.TryRead(out var record))
        {
            numbers.Add(record.Sequence);
        }

        return numbers;
    }
}
