using Containerd.Shim.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using EventsRequest = Containerd.Shim.V1.EventsRequest;
using EventType = Containerd.Shim.V1.EventType;
using ShimEvent = Containerd.Shim.V1.Event;
using State = Containerd.Shim.V1.State;

namespace Shim.Tests.EndToEnd;

/// <summary>A shim without a supervisor, driven over its socket as the `ctr shim` of February 2017 did it: those nine RPCs, those fields.</summary>
public sealed class ShimAloneTests
{
    [Test]
    public async Task TheNineRpcs_OfTheTime_RunAContainer()
    {
        await using var shim = await ShimFixture.StartAsync();
        var bundle = shim.NewBundle().Terminal(false).Write();
        var create = await shim.Client.CreateAsync(new CreateRequest { Id = "anchor", Bundle = bundle.Path, Runtime = "runc" });
        Assert.That(create.Pid, Is.GreaterThan(1u));
        var events = ReadEventsAsync(shim, stopAfter: e => e.Type == EventType.Exit && e.Pid == create.Pid);
        Assert.That((await StateAsync(shim)).Processes.Select(p => (p.Pid, p.State)), Is.EqualTo(new[] { (create.Pid, State.Created) }));

        await shim.Client.StartAsync(new StartRequest());
        var exec = await shim.Client.ExecAsync(new ExecRequest { Args = { "sh", "-c", "exit 23" } });
        var waited = await shim.Client.WaitAsync(new Containerd.Shim.V1.WaitRequest { Pid = exec.Pid });
        Assert.That(waited.Exit.Status, Is.EqualTo(23u));
        var terminal = await shim.Client.ExecAsync(new ExecRequest { Args = { "sleep", "1000" }, Terminal = true });
        await shim.Client.PtyAsync(new PtyRequest { Pid = terminal.Pid, Width = 80, Height = 24 });

        await shim.Client.PauseAsync(new PauseRequest());
        Assert.That((await StateAsync(shim)).Processes.Single(p => p.Pid == create.Pid).State, Is.EqualTo(State.Paused));
        await shim.Client.ResumeAsync(new ResumeRequest());
        var state = await StateAsync(shim);
        Assert.That((state.Id, state.Bundle), Is.EqualTo(("anchor", bundle.Path)));
        Assert.That(
            state.Processes.Select(p => (p.Pid, p.State)),
            Is.EquivalentTo(new[] { (create.Pid, State.Running), (exec.Pid, State.Stopped), (terminal.Pid, State.Running) }));

        Assert.That((await shim.Client.DeleteAsync(new DeleteRequest { Pid = exec.Pid })).ExitStatus, Is.EqualTo(23u));
        Assert.That((await shim.Client.DeleteAsync(new DeleteRequest { Pid = create.Pid })).ExitStatus, Is.EqualTo(137u));

        var seen = await events.WithinAsync(Poll.Deadline, "the exit event of init");
        Assert.That(seen.Select(e => e.Sequence), Is.EqualTo(Enumerable.Range(1, seen.Count).Select(n => (ulong)n)));
        Assert.That(seen.Select(e => e.Id), Is.All.EqualTo("anchor"));
        Assert.That(
            seen.Where(e => e.Type is EventType.Create or EventType.Start or EventType.ExecAdded or EventType.Exit).Select(e => (e.Type, e.Pid, e.ExitStatus)),
            Is.EqualTo(new[]
            {
                (EventType.Create, create.Pid, 0u),
                (EventType.Start, create.Pid, 0u),
                (EventType.ExecAdded, exec.Pid, 0u),
                (EventType.Start, exec.Pid, 0u),
                (EventType.Exit, exec.Pid, 23u),
                (EventType.ExecAdded, terminal.Pid, 0u),
                (EventType.Start, terminal.Pid, 0u),
                (EventType.Exit, terminal.Pid, 137u),
                (EventType.Exit, create.Pid, 137u),
            }));
    }

    [Test]
    public async Task RelativePaths_AreThoseOfTheSharedWorkingDirectory()
    {
        await using var shim = await ShimFixture.StartAsync();
        var bundle = shim.NewBundle().Script("echo out").Write();
        using var stdout = new FifoReader(Path.Combine(shim.WorkingDirectory, "out"));
        await shim.Client.CreateAsync(new CreateRequest { Id = "near", Bundle = Path.GetRelativePath(shim.WorkingDirectory, bundle.Path), Stdout = "out" });
        await shim.Client.StartAsync(new StartRequest());
        Assert.That(await stdout.ReadTextAsync(Poll.Deadline), Is.EqualTo("out\n"));
        Assert.That((await StateAsync(shim)).Bundle, Is.EqualTo(bundle.Path));
    }

    [Test]
    public async Task Terminal_StderrIsNamedToo_ItsReaderSeesTheEnd()
    {
        await using var shim = await ShimFixture.StartAsync();
        using var stdout = new FifoReader(Path.Combine(shim.WorkingDirectory, "out"));
        using var stderr = new FifoReader(Path.Combine(shim.WorkingDirectory, "err"));
        var bundle = shim.NewBundle().Terminal().Script("echo both >&2").Write();
        await shim.Client.CreateAsync(new CreateRequest { Id = "tty", Bundle = bundle.Path, Stdout = stdout.Path, Stderr = stderr.Path });
        Assert.That(stderr.Ended.IsCompleted, Is.False);
        await shim.Client.StartAsync(new StartRequest());
        Assert.That(await stdout.ReadTextAsync(Poll.Deadline), Is.EqualTo("both\r\n"));
        Assert.That(await stderr.ReadTextAsync(Poll.Deadline), Is.Empty);
    }

    [Test]
    public async Task Create_Twice_AlreadyExists()
    {
        await using var shim = await ShimFixture.StartAsync();
        await shim.Client.CreateAsync(new CreateRequest { Id = "one", Bundle = shim.NewBundle().Write().Path });
        await Refusal.ExpectAsync(
            shim.Client.CreateAsync(new CreateRequest { Id = "two", Bundle = shim.NewBundle().Write().Path }), StatusCode.AlreadyExists, ["one"]);
    }

    [Test]
    public async Task BeforeCreate_CallsAreRefusedAndStateSaysThereIsNothing()
    {
        await using var shim = await ShimFixture.StartAsync();
        Assert.That((await StateAsync(shim)).Exists, Is.False);
        await Refusal.ExpectAsync(shim.Client.StartAsync(new StartRequest()), StatusCode.NotFound);
        await Refusal.ExpectAsync(shim.Client.ExecAsync(new ExecRequest { Args = { "true" } }), StatusCode.NotFound);
        await Refusal.ExpectAsync(shim.Client.DeleteAsync(new DeleteRequest()), StatusCode.NotFound);
    }

    [Test]
    public async Task Shutdown_WithContainer_FailedPrecondition()
    {
        await using var shim = await ShimFixture.StartAsync();
        await shim.Client.CreateAsync(new CreateRequest { Id = "held", Bundle = shim.NewBundle().Write().Path });
        await Refusal.ExpectAsync(shim.Client.ShutdownAsync(new ShutdownRequest()), StatusCode.FailedPrecondition, ["held"]);
        Assert.That(shim.IsRunning, Is.True);
    }

    [Test]
    public async Task Socket_Modes_AreForTheOwnerAlone()
    {
        await using var shim = await ShimFixture.StartAsync();
        Assert.That(File.GetUnixFileMode(shim.Socket), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public async Task Dump_Container_NamesWhatIsUnderWay()
    {
        await using var shim = await ShimFixture.StartAsync();
        await shim.Client.CreateAsync(new CreateRequest { Id = "seen", Bundle = shim.NewBundle().Write().Path });
        var dump = await shim.Client.DumpAsync(new DumpRequest());
        Assert.That(dump.State.Id, Is.EqualTo("seen"));
        Assert.That(dump.Gauges, Is.Not.Empty);
    }

    private static async Task<StateResponse> StateAsync(ShimFixture shim) => await shim.Client.StateAsync(new StateRequest());

    private static async Task<List<ShimEvent>> ReadEventsAsync(ShimFixture shim, Predicate<ShimEvent> stopAfter)
    {
        using var call = shim.Client.Events(new EventsRequest(), deadline: DateTime.UtcNow.AddMinutes(1));
        var events = new List<ShimEvent>();
        await foreach (var next in call.ResponseStream.ReadAllAsync())
        {
            events.Add(next);
            if (stopAfter(next))
            {
                break;
            }
        }

        return events;
    }
}
