using Containerd.V1;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>The rules by which the other tests judge event streams: a good stream passes, each kind of bad one is noticed.</summary>
public sealed class EventRulesTests
{
    private const uint Init = 10, Exec = 11;

    [Test]
    public void GoodStream_NoViolation() => Assert.That(
        Check(
            (EventType.Created, Init), (EventType.Started, Init), (EventType.ExecAdded, Exec), (EventType.Started, Exec),
            (EventType.Paused, Init), (EventType.Resumed, Init), (EventType.Exited, Exec), (EventType.Deleted, Exec),
            // The pid is used again.
            (EventType.ExecAdded, Exec), (EventType.Started, Exec), (EventType.Exited, Exec),
            (EventType.Exited, Init), (EventType.Deleted, Init),
            // The id is used again, and init is killed before its start.
            (EventType.Created, Exec), (EventType.Exited, Exec), (EventType.Deleted, Exec)),
        Is.Empty);

    [TestCase(EventType.Exited, EventType.Started, TestName = "Exit before start")]
    [TestCase(EventType.Started, EventType.Started, TestName = "Two starts")]
    [TestCase(EventType.Exited, EventType.Exited, TestName = "Two exits")]
    [TestCase(EventType.Deleted, EventType.Exited, TestName = "Delete before exit")]
    [TestCase(EventType.Created, EventType.Started, TestName = "Two creates")]
    public void WrongOrderOfInit_Violation(EventType second, EventType third) =>
        Assert.That(Check((EventType.Created, Init), (second, Init), (third, Init)), Is.Not.Empty);

    [Test]
    public void ExecExitsAfterInit_Violation() => Assert.That(
        Check(
            (EventType.Created, Init), (EventType.Started, Init), (EventType.ExecAdded, Exec), (EventType.Started, Exec),
            (EventType.Exited, Init), (EventType.Exited, Exec)),
        Is.Not.Empty);

    [Test]
    public void ExecStartsAfterInitExit_Violation() => Assert.That(
        Check(
            (EventType.Created, Init), (EventType.Started, Init), (EventType.Exited, Init), (EventType.ExecAdded, Exec)),
        Is.Not.Empty);

    [Test]
    public void ExecIsNeverAdded_Violation() => Assert.That(
        Check((EventType.Created, Init), (EventType.Started, Init), (EventType.Started, Exec)), Is.Not.Empty);

    [TestCase(3UL)]
    [TestCase(1UL)]
    public void NumberSkippedOrTwice_Violation(ulong second) => Assert.That(
        EventRules.Violations([Make(1, EventType.Created, Init), Make(second, EventType.Started, Init)]), Is.Not.Empty);

    private static IReadOnlyList<string> Check(params (EventType Type, uint Pid)[] events)
    {
        uint init = 0;
        var made = new List<Event>();
        foreach (var (type, pid) in events)
        {
            init = type == EventType.Created ? pid : init;
            var next = Make((ulong)made.Count + 1, type, pid);
            next.Init = pid == init;
            made.Add(next);
        }

        return EventRules.Violations(made);
    }

    private static Event Make(ulong sequence, EventType type, uint pid) => new()
    {
        Sequence = sequence,
        Type = type,
        Pid = pid,
        ContainerId = "c",
        Init = pid == Init,
        Exit = type == EventType.Exited ? new Exit() : null,
    };
}
