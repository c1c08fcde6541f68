extern alias SupervisorAssembly;

using Containerd.V1;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Events;

namespace Shim.Tests.Supervisor;

/// <summary>The status of a container follows from its events alone.</summary>
public sealed class ContainerTrackTests
{
    private static readonly ExitRecord s_killed = new() { Status = 137, Signal = 9, Reason = ExitReason.Signaled };

    [Test]
    public void Apply_WholeLife_StatusFollows()
    {
        var track = After(Of(EventType.Created, 1));
        Assert.That(track, Has.Property(nameof(ContainerTrack.Status)).EqualTo(Status.Created).And.Property(nameof(ContainerTrack.InitPid)).EqualTo(10));
        track = ContainerTrack.Apply(track, Of(EventType.Started, 2));
        Assert.That(track!.Status, Is.EqualTo(Status.Running));
        track = ContainerTrack.Apply(track, Of(EventType.Paused, 3));
        Assert.That(track!.Status, Is.EqualTo(Status.Paused));
        track = ContainerTrack.Apply(track, Of(EventType.Resumed, 4));
        Assert.That(track!.Status, Is.EqualTo(Status.Running));
        track = ContainerTrack.Apply(track, Of(EventType.Exited, 5) with { Exit = s_killed });
        Assert.That(track, Has.Property(nameof(ContainerTrack.Status)).EqualTo(Status.Stopped).And.Property(nameof(ContainerTrack.Exit)).EqualTo(s_killed));
        Assert.That(track!.ShimSequence, Is.EqualTo(5));
        Assert.That(ContainerTrack.Apply(track, Of(EventType.Deleted, 6)), Is.Null);
    }

    [Test]
    public void Apply_ExecStartsAndExits_OnlyRunningOnesAreKept()
    {
        var track = After(
            Of(EventType.Created, 1), Of(EventType.Started, 2), Of(EventType.Started, 3, pid: 11, init: false), Of(EventType.Started, 4, pid: 12, init: false));
        Assert.That(track!.RunningExecs, Is.EqualTo(new uint[] { 11, 12 }));
        track = ContainerTrack.Apply(track, Of(EventType.Exited, 5, pid: 11, init: false) with { Exit = s_killed });
        Assert.That(track!.RunningExecs, Is.EqualTo(new uint[] { 12 }));
        Assert.That(track.Status, Is.EqualTo(Status.Running));
    }

    [Test]
    public void Apply_EventsAfterTheEndOfInit_ChangeNothingButTheSequence()
    {
        var track = After(Of(EventType.Created, 1), Of(EventType.Exited, 2) with { Exit = s_killed }, Of(EventType.Resumed, 3), Of(EventType.Started, 4));
        Assert.That(track, Has.Property(nameof(ContainerTrack.Status)).EqualTo(Status.Stopped).And.Property(nameof(ContainerTrack.ShimSequence)).EqualTo(4));
    }

    [Test]
    public void Apply_EventWithoutCreation_TracksNothing() => Assert.That(After(Of(EventType.Started, 2)), Is.Null);

    [Test]
    public void Apply_OwnEvent_KeepsTheShimsSequence() =>
        Assert.That(After(Of(EventType.Created, 7), Of(EventType.Exited, 0) with { Exit = s_killed })!.ShimSequence, Is.EqualTo(7));

    private static ContainerTrack? After(params EventRecord[] records) => records.Aggregate((ContainerTrack?)null, ContainerTrack.Apply);

    private static EventRecord Of(EventType type, ulong shimSequence, uint pid = 10, bool init = true) =>
        new() { Type = type, ContainerId = "c", Pid = pid, Init = init, ShimSequence = shimSequence };
}
