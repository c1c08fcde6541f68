extern alias SupervisorAssembly;

using Containerd.V1;
using NUnit.Framework;
using Shim.Processes;
using Shim.Tasks;
using Shim.Tests.Support;
using SupervisorAssembly::Supervisor.Events;

namespace Shim.Tests.Supervisor;

/// <summary>The supervisor reads what the shim writes, down to the last field.</summary>
public sealed class ShimJournalTests
{
    private string _path = null!;

    [SetUp]
    public void Prepare() => _path = Path.Join(TestRun.NewDirectory("journal"), "journal");

    [TearDown]
    public void Remove() => Directory.Delete(Path.GetDirectoryName(_path)!, recursive: true);

    [Test]
    public void ReadAfter_NoFile_IsEmpty() => Assert.That(ShimJournal.ReadAfter(_path, 0, "c"), Is.Empty);

    [TestCaseSource(nameof(EventTypes))]
    public void ReadAfter_EveryTypeOfEvent_IsUnderstood(string type)
    {
        Write(new TaskEvent(Enum.Parse<TaskEventType>(type), "c", 12, true) { Sequence = 3 });
        var record = ShimJournal.ReadAfter(_path, 2, "c").Single();
        Assert.That(record.Type, Is.Not.EqualTo(EventType.Unspecified));
        Assert.That((record.Pid, record.Init, record.ShimSequence), Is.EqualTo((12u, true, 3ul)));
    }

    [TestCaseSource(nameof(ExitReasons))]
    public void ReadAfter_Exit_KeepsEverything(string reason)
    {
        var time = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
        var exit = new Shim.Tasks.ExitRecord(new ExitStatus(139, 11, true), Enum.Parse<Shim.Tasks.ExitReason>(reason), "why", time, new ResourceUse(1, 2, 3));
        Write(new TaskEvent(TaskEventType.Exit, "c", 12, false, exit) { Sequence = 1, Time = time });
        var record = ShimJournal.ReadAfter(_path, 0, "c").Single();
        Assert.That(record.Time, Is.EqualTo(time.UtcDateTime));
        Assert.That(record.Exit, Is.EqualTo(new SupervisorAssembly::Supervisor.Events.ExitRecord
        {
            Status = 139,
            Signal = 11,
            CoreDumped = true,
            Reason = Enum.Parse<Containerd.V1.ExitReason>(reason),
            Message = "why",
            Time = time.UtcDateTime,
            UserCpuUs = 1,
            SystemCpuUs = 2,
            MaxRssKib = 3,
        }));
    }

    [Test]
    public void ReadAfter_SomeDeliveredAndATornLine_GivesTheRest()
    {
        for (var i = 1; i <= 5; i++)
        {
            Write(new TaskEvent(TaskEventType.ExecAdded, "c", i, false) { Sequence = i });
        }

        File.AppendAllText(_path, "{\"seq\":6,\"ti");
        Assert.That(ShimJournal.ReadAfter(_path, 3, "c").Select(record => record.ShimSequence), Is.EqualTo(new ulong[] { 4, 5 }));
    }

    // A checkpoint is something that containerd's shims make, and no supervisor of ours is told of.
    private static string[] EventTypes() => [.. Enum.GetNames<TaskEventType>().Where(name => name != nameof(TaskEventType.Checkpoint))];

    private static string[] ExitReasons() => Enum.GetNames<Shim.Tasks.ExitReason>();

    private void Write(TaskEvent e) => File.AppendAllText(_path, System.Text.Encoding.UTF8.GetString(TaskEventJson.Write(e).Span) + "\n");
}
