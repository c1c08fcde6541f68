extern alias SupervisorAssembly;

using NUnit.Framework;
using Shim.Processes;
using Shim.Stdio;
using Shim.Tasks;
using Shim.Tests.Support;
using SupervisorAssembly::Supervisor.Events;

namespace Shim.Tests.Tasks;

/// <summary>A damaged journal: what can be read is used by both who read it, and no number means two events.</summary>
public sealed class JournalDamageTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    private string _directory = null!;

    private string JournalPath => Path.Combine(_directory, "journal");

    [SetUp]
    public async Task Write()
    {
        _directory = TestRun.NewDirectory("journal");
        using var journal = Open();
        _ = journal.Append(Event(TaskEventType.Create, 1, init: true));
        _ = journal.Append(Event(TaskEventType.Start, 1, init: true));
        _ = journal.Append(Event(TaskEventType.ExecAdded, 2));
        _ = journal.Append(Event(TaskEventType.Start, 2));
        await journal.Append(Event(TaskEventType.Exit, 2)).WithinAsync(s_limit, "five events");
    }

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [TestCase(0)]
    [TestCase(2)]
    [TestCase(4)]
    public async Task OneLineIsGarbage_TheOthersCountAndNumbersGoOn(int line)
    {
        var lines = await File.ReadAllLinesAsync(JournalPath);
        lines[line] = new string('\0', 150);
        await File.WriteAllLinesAsync(JournalPath, lines);
        var expected = Enumerable.Range(1, 5).Where(number => number != line + 1).ToList();

        var damage = new List<string>();
        Assert.That(ShimJournal.ReadAfter(JournalPath, 0, "c1", damage.Add).Select(e => (int)e.ShimSequence), Is.EqualTo(expected));
        Assert.That(damage.Single(), Does.Contain(JournalPath).And.Contain("150 bytes at offset"));
        using var journal = Open();
        Assert.That((await ReadAsync(journal)).Select(e => (int)e.Sequence), Is.EqualTo(expected));
        Assert.That(journal.Sequence, Is.GreaterThan(5));
        var next = journal.Sequence + 1;
        await journal.Append(Event(TaskEventType.Delete, 2)).WithinAsync(s_limit, "one more");
        Assert.That((await ReadAsync(journal))[^1].Sequence, Is.EqualTo(next));
    }

    [Test]
    public async Task ContinueAfter_WhatOthersKnow_NumbersGoOnBehindIt()
    {
        using (var journal = Open())
        {
            journal.ContinueAfter(40);
            journal.ContinueAfter(3);
            await journal.Append(Event(TaskEventType.Delete, 2)).WithinAsync(s_limit, "one more");
            Assert.That((await ReadAsync(journal))[^1].Sequence, Is.EqualTo(41));
        }

        using var again = Open();
        Assert.That(again.Sequence, Is.EqualTo(41));
    }

    [Test]
    public async Task LinesThatAddAProcessAreLost_HistoryKnowsItWithoutItsTraces()
    {
        var lines = await File.ReadAllLinesAsync(JournalPath);
        await File.WriteAllLinesAsync(JournalPath, [lines[0], lines[1], "garbage", lines[3]]);
        using var journal = Open();
        var history = await History.ReadAsync(journal);
        Assert.That(history.State, Is.EqualTo(InitState.Running));
        var exec = history.Execs.Single();
        Assert.That((exec.Pid, exec.Trace.StartTime, exec.Exit), Is.EqualTo((2, 0ul, (Shim.Tasks.ExitRecord?)null)), "nobody will be taken for it");
    }

    [TestCase("a directory")]
    [TestCase("a link")]
    [TestCase("a loop")]
    public void SomethingElseIsInItsPlace_TheSupervisorReadsNothingAndSaysSo(string what)
    {
        File.Delete(JournalPath);
        switch (what)
        {
            case "a directory":
                Directory.CreateDirectory(JournalPath);
                break;
            case "a link":
                File.CreateSymbolicLink(JournalPath, "/etc/passwd");
                break;
            default:
                File.CreateSymbolicLink(JournalPath, JournalPath);
                break;
        }

        var damage = new List<string>();
        Assert.That(ShimJournal.ReadAfter(JournalPath, 0, "c1", damage.Add), Is.Empty);
        Assert.That(damage.Single(), Does.Contain(JournalPath));
        Assert.That(Open, Throws.InstanceOf<IOException>());
    }

    [Test]
    public void TornLastLine_ReadByTheSupervisor_IsLeftAsItIs()
    {
        File.AppendAllText(JournalPath, "{\"seq\":6,\"ti");
        var length = new FileInfo(JournalPath).Length;
        Assert.That(ShimJournal.ReadAfter(JournalPath, 3, "c1"), Has.Count.EqualTo(2));
        Assert.That(new FileInfo(JournalPath).Length, Is.EqualTo(length));
    }

    private static TaskEvent Event(TaskEventType type, int pid, bool init = false) =>
        new(type, "c1", pid, init, type == TaskEventType.Exit
            ? new Shim.Tasks.ExitRecord(new ExitStatus(3, 0, false), Shim.Tasks.ExitReason.Exited, "", DateTimeOffset.UnixEpoch, default)
            : null)
        {
            Trace = type is TaskEventType.Create or TaskEventType.ExecAdded ? new ProcessTrace(99, new StreamAddresses("", "", "", false), "", "") : null,
        };

    private static async Task<List<TaskEvent>> ReadAsync(Journal journal)
    {
        var events = new List<TaskEvent>();
        await foreach (var e in journal.ReadAsync(0, follow: false, default))
        {
            events.Add(e);
        }

        return events;
    }

    private Journal Open() => Journal.Open(JournalPath, new TaskLog(debug: false));
}
