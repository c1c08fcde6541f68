using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Api;

/// <summary>SupervisorService.Events: order, replay, filters, slow and vanished readers.</summary>
public sealed class EventStreamTests : SupervisorTests
{
    [Test]
    public async Task Life_OfOneContainer_IsToldInOrder()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sh", "-c", "exit 7");
        await container.WaitAsync(exec);
        await container.DeleteProcessAsync(exec);
        await container.PauseAsync();
        await container.ResumeAsync();
        await Supervisor.Containers.UpdateContainerAsync(
            new UpdateContainerRequest { ContainerId = container.Id, BundlePath = Supervisor.NewBundle().PidsLimit(60).Write().Path });
        await container.KillAsync();
        await container.DeleteAsync();

        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        Assert.That(events.Of(container.Id).Select(e => (e.Type, e.Pid, e.Init)), Is.EqualTo(new[]
        {
            (EventType.Created, container.Pid, true),
            (EventType.Started, container.Pid, true),
            (EventType.ExecAdded, exec, false),
            (EventType.Started, exec, false),
            (EventType.Exited, exec, false),
            (EventType.Deleted, exec, false),
            (EventType.Paused, container.Pid, true),
            (EventType.Resumed, container.Pid, true),
            (EventType.Updated, container.Pid, true),
            (EventType.Exited, container.Pid, true),
            (EventType.Deleted, container.Pid, true),
        }));
        Assert.That(events.ExitsOf(container.Id).Select(e => e.Exit.Status), Is.EqualTo(new[] { 7u, 137u }));
        Assert.That(events.Events.Select(e => e.Time.ToDateTime()), Is.Ordered);
        events.AssertOrder();
    }

    [Test]
    public async Task Subscribe_AfterANumber_ReplaysWhatCameLaterThenGoesOn()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await container.ShellAsync("exit 1");
        var all = await ReadAsync(new EventsRequest { NoFollow = true });
        Assert.That(all.Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(1, all.Count).Select(n => (ulong)n)), "from the first event of this supervisor");

        var from = all[^3].Sequence;
        await using var late = EventRecorder.After(Supervisor, from);
        await container.ShellAsync("exit 2");
        await late.WaitForAsync(e => e.Exit?.Status == 2, Poll.Deadline);
        Assert.That(late.Events[0].Sequence, Is.EqualTo(from + 1));
        Assert.That(late.Events.Take(2), Is.EqualTo(all.TakeLast(2)));
        Assert.That(late.Events.Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(0, late.Events.Count).Select(n => from + 1 + (ulong)n)));
    }

    [Test]
    public async Task Subscribe_Filters_OnlyThose()
    {
        var wanted = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 5"));
        var other = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 6"));
        await wanted.WaitAsync();
        await other.WaitAsync();
        var some = await ReadAsync(new EventsRequest { NoFollow = true, ContainerIds = { wanted.Id }, Types_ = { EventType.Exited, EventType.Created } });
        Assert.That(some.Select(e => (e.ContainerId, e.Type)), Is.EqualTo(new[] { (wanted.Id, EventType.Created), (wanted.Id, EventType.Exited) }));
        Assert.That(some[1].Exit.Status, Is.EqualTo(5u));
    }

    [Test]
    public async Task Subscribe_LiveOnly_NothingOld()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        using var call = Supervisor.Control.Events(new EventsRequest { LiveOnly = true }, deadline: DateTime.UtcNow.AddSeconds(20));
        // The headers come once the subscription stands.
        await call.ResponseHeadersAsync;
        await container.ShellAsync("exit 3");
        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None), Is.True);
        Assert.That((call.ResponseStream.Current.Type, call.ResponseStream.Current.ContainerId), Is.EqualTo((EventType.ExecAdded, container.Id)));
    }

    [Test]
    public async Task Reader_ThatDoesNotRead_DelaysNobody()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        using var mute = Supervisor.Control.Events(new EventsRequest(), deadline: DateTime.UtcNow.AddMinutes(2));
        await mute.ResponseHeadersAsync;
        for (var n = 0; n < 100; n++)
        {
            Assert.That((await container.ShellAsync($"exit {n}").WithinAsync(TimeSpan.FromSeconds(5), "an exec beside a mute reader")).Status, Is.EqualTo((uint)n));
        }

        await events.WaitForAsync(e => e.Exit?.Status == 99, Poll.Deadline);
        events.AssertOrder();
    }

    [Test]
    public async Task Readers_Many_AllSeeTheSame()
    {
        var now = (await Supervisor.Control.InfoAsync(new InfoRequest())).NewestSequence;
        var recorders = Enumerable.Range(0, 10).Select(_ => EventRecorder.After(Supervisor, now)).ToList();
        var container = await TestContainer.RunAsync(Supervisor);
        await container.ShellAsync("exit 8");
        await container.DeleteAsync();
        foreach (var recorder in recorders)
        {
            await recorder.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
            Assert.That(recorder.Events, Is.EqualTo(recorders[0].Events.Take(recorder.Events.Count)));
            await recorder.DisposeAsync();
        }
    }

    private async Task<List<Event>> ReadAsync(EventsRequest request)
    {
        using var call = Supervisor.Control.Events(request, deadline: DateTime.UtcNow.AddSeconds(20));
        var events = new List<Event>();
        await foreach (var next in call.ResponseStream.ReadAllAsync())
        {
            events.Add(next);
        }

        return events;
    }
}
