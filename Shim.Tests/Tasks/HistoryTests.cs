using NUnit.Framework;
using Shim.Stdio;
using Shim.Tasks;

namespace Shim.Tests.Tasks;

/// <summary>What the events of a container add up to, where its life is not the usual one.</summary>
public sealed class HistoryTests
{
    [Test]
    public void Restored_HasItsPidFromItsStartOn()
    {
        var history = new History();
        history.Apply(new TaskEvent(TaskEventType.Create, "c", 0, true));
        Assert.That(history.State, Is.EqualTo(InitState.Restorable));
        var trace = new ProcessTrace(4711, new StreamAddresses("", "/out", "", false), "", "");
        history.Apply(new TaskEvent(TaskEventType.Start, "c", 42, true) { Trace = trace });
        Assert.That(history.State, Is.EqualTo(InitState.Running));
        Assert.That((history.Init.Pid, history.Init.Trace), Is.EqualTo((42, trace)));
        Assert.That(history.Execs, Is.Empty);
        history.Apply(new TaskEvent(TaskEventType.Checkpoint, "c", 42, true) { Checkpoint = "/image" });
        Assert.That(history.State, Is.EqualTo(InitState.Running));
    }

    [Test]
    public void NeverRestored_IsDeleted()
    {
        var history = new History();
        history.Apply(new TaskEvent(TaskEventType.Create, "c", 0, true));
        history.Apply(new TaskEvent(TaskEventType.Delete, "c", 0, true));
        Assert.That(history.State, Is.Null);
    }
}
