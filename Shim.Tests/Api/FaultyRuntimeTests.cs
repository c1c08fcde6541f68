using System.Diagnostics;
using System.Text.RegularExpressions;
using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.FakeRunc;
using Shim.Tests.Support;
using Process = Containerd.V1.Process;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>A runtime that is slow, hangs, fails, talks too much or loses its container: what is not concerned goes on.</summary>
public sealed class FaultyRuntimeTests : SupervisorTests
{
    private static readonly TimeSpan s_quick = TimeSpan.FromMilliseconds(500);

    private readonly FakeRuntime _runtime = new();

    protected override SupervisorSettings Settings => new() { Runtime = _runtime.Path };

    [SetUp]
    public void ForgetCalls() => _runtime.ForgetCalls();

    [TearDown]
    public void RemoveFaults() => _runtime.Clear();

    [OneTimeTearDown]
    public void RemoveRuntime() => _runtime.Dispose();

    [Test]
    public async Task Verbs_AndReads_RunTheRuntimeNoMoreThanTheyMust()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("true");
        await container.WaitAsync(exec);
        Assert.That(_runtime.Calls.Select(call => call.Split(' ')[0]), Is.EqualTo(new[] { "create", "start", "exec" }));

        _runtime.ForgetCalls();
        await container.StatusAsync();
        await container.ProcessesAsync();
        await container.ProcessAsync(exec);
        await container.InspectAsync();
        await Supervisor.Containers.ListContainersAsync(new ListContainersRequest());
        await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id });
        await container.DeleteProcessAsync(exec);
        await container.KillAsync();
        Assert.That(_runtime.Calls, Is.Empty, "state, list, get, wait, signal and stats need no runtime");

        await container.DeleteAsync();
        Assert.That(_runtime.Calls.Select(call => call.Split(' ')[0]), Is.EqualTo(new[] { "delete" }));
    }

    [Test]
    public async Task SlowCreate_OthersAnswerAtOnce()
    {
        var other = await TestContainer.RunAsync(Supervisor);
        _runtime.Set("slow:create:3");
        var slow = TestContainer.CreateAsync(Supervisor, id: "slow");
        await Poll.Until(() => _runtime.CountOf("create") == 2, Poll.Deadline, "the slow create is under way");
        for (var n = 0; n < 10; n++)
        {
            await QuickAsync(() => other.StatusAsync());
            await QuickAsync(() => other.ProcessesAsync());
            await QuickAsync(() => Supervisor.Containers.ListContainersAsync(new ListContainersRequest()).ResponseAsync);
        }

        // Its id is taken already.
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "slow", BundlePath = Supervisor.NewBundle().Write().Path }),
            StatusCode.AlreadyExists);
        Assert.That((await other.ShellAsync("exit 0").WithinAsync(TimeSpan.FromSeconds(2), "an exec elsewhere")).Status, Is.Zero);
        Assert.That(slow.IsCompleted, Is.False, "the creation was slow");
        Assert.That(await (await slow).StatusAsync(), Is.EqualTo(Status.Created));
    }

    [Test]
    public async Task HangingExec_ReadsAndSignalsAnswerAndDeleteWorks()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        _runtime.Set("hang:exec");
        var hanging = Refusal.OutcomeAsync(Supervisor.Containers.StartProcessAsync(container.ExecRequest("true")));
        await Poll.Until(() => _runtime.CountOf("exec") == 1, Poll.Deadline, "the exec hangs");
        await QuickAsync(() => container.StatusAsync());
        await QuickAsync(() => container.ProcessesAsync());
        await QuickAsync(() => container.InspectAsync());
        await QuickAsync(() => container.SignalAsync(container.Pid, 17));
        await QuickAsync(() => Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id }).ResponseAsync);
        _runtime.Clear();
        Assert.That((await container.ShellAsync("exit 0").WithinAsync(TimeSpan.FromSeconds(3), "an exec beside the hanging one")).Status, Is.Zero);

        await container.DeleteAsync();
        Assert.That((await hanging.WithinAsync(TimeSpan.FromSeconds(20), "the end of the hanging exec")).StatusCode, Is.Not.EqualTo(StatusCode.OK));
    }

    [Test]
    public async Task SlowDelete_ClientGivesUp_DeletionGoesOnAndOthersJoinIt()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        _runtime.Set("slow:delete:2");
        using (var call = Supervisor.Containers.DeleteContainerAsync(
            new DeleteContainerRequest { Id = container.Id }, deadline: DateTime.UtcNow.AddMilliseconds(700)))
        {
            Assert.That((await Refusal.OutcomeAsync(call)).StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        }

        using var second = Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id });
        Assert.That((await Refusal.OutcomeAsync(second)).StatusCode, Is.EqualTo(StatusCode.OK));
        Assert.That(_runtime.CountOf("delete"), Is.EqualTo(1), "one deletion, which both callers waited for");
        await Refusal.ExpectAsync(Supervisor.Containers.GetContainerAsync(new GetContainerRequest { Id = container.Id }), StatusCode.NotFound);
    }

    [Test]
    public async Task InitDiesInStart_TheExitHasTheRuntimesReason()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.CreateAsync(Supervisor);
        _runtime.Set("init-dies-in-start");
        Assert.That(async () => await container.StartAsync(), Throws.InstanceOf<Grpc.Core.RpcException>());
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline)).Exit;
        Assert.That((exit.Reason, exit.Status), Is.EqualTo((ExitReason.RuntimeError, 137u)));
        Assert.That(exit.Message, Does.Contain("died under my hands"));
        _runtime.Clear();
        await container.DeleteAsync();
        Assert.That(events.Of(container.Id).Where(e => e.Type == EventType.Started), Is.Empty);
    }

    [TestCase("create", StatusCode.Unknown)]
    [TestCase("start", StatusCode.Unknown)]
    [TestCase("exec", StatusCode.Unknown)]
    [TestCase("pause", StatusCode.Unknown)]
    [TestCase("update", StatusCode.Unknown)]
    public async Task FailingVerb_RuntimesWordsAreCarriedAndTheNextTryWorks(string verb, StatusCode code)
    {
        var bundle = Supervisor.NewBundle().Write();
        _runtime.Set($"fail:{verb}:1");
        var create = new CreateContainerRequest { Id = "failing", BundlePath = bundle.Path };
        if (verb == "create")
        {
            await Refusal.ExpectAsync(Supervisor.Containers.CreateContainerAsync(create), code, [$"told to fail {verb}"]);
            _runtime.Clear();
        }

        await Supervisor.Containers.CreateContainerAsync(create);
        await StepAsync("start", () => Supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = "failing" }));
        await StepAsync("exec", () => Supervisor.Containers.StartProcessAsync(
            new StartProcessRequest { ContainerId = "failing", Process = new Process { Args = { "true" } } }));
        await StepAsync("update", () => Supervisor.Containers.UpdateContainerAsync(
            new UpdateContainerRequest { ContainerId = "failing", BundlePath = bundle.Path }));
        await StepAsync("pause", () => Supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = "failing" }));
        Assert.That(
            (await Supervisor.Containers.GetContainerAsync(new GetContainerRequest { Id = "failing" })).Container.Status, Is.EqualTo(Status.Paused));

        async Task StepAsync<T>(string step, Func<AsyncUnaryCall<T>> call)
        {
            if (step == verb)
            {
                await Refusal.ExpectAsync(call(), code, [$"told to fail {verb}"]);
                _runtime.Clear();
            }

            await call();
        }
    }

    [Test]
    public async Task FailingDelete_CanBeAskedForAgain()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        _runtime.Set("fail:delete:1");
        await Refusal.ExpectAsync(
            Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id }), StatusCode.Unknown, ["told to fail delete"]);
        _runtime.Clear();
        await container.DeleteAsync();
    }

    [Test]
    public async Task TalkativeRuntime_WorksAndMessagesStayShort()
    {
        _runtime.Set("spew:3000000");
        var container = await TestContainer.RunAsync(Supervisor);
        Assert.That((await container.ShellAsync("exit 4")).Status, Is.EqualTo(4u));
        _runtime.Set("spew:3000000", "fail:exec:1");
        var message = await Refusal.ExpectAsync(Supervisor.Containers.StartProcessAsync(container.ExecRequest("true")), StatusCode.Unknown);
        Assert.That(message.Length, Is.LessThan(10_000));
    }

    [Test]
    public async Task InitDiesInCreate_ContainerIsStoppedWithItsStatus()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        _runtime.Set("init-dies-in-create");
        var container = await TestContainer.CreateAsync(Supervisor);
        var exit = await container.WaitAsync();
        Assert.That((exit.Status, exit.Signal), Is.EqualTo((137u, 9u)));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
        await Refusal.ExpectAsync(
            Supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = container.Id }), StatusCode.FailedPrecondition);
        await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        events.AssertOrder();
        await container.DeleteAsync();
    }

    [Test]
    public async Task Runtime_GetsOnlyTheDescriptorsItNeeds()
    {
        _runtime.Set("dumpfds");
        var container = await TestContainer.RunAsync(Supervisor);
        await container.ShellAsync("exit 0");
        foreach (var verb in new[] { "create", "start", "exec" })
        {
            var descriptors = Regex.Matches(_runtime.Dumps(verb, "fds").Single(), " ([0-9]+) -> (.*)")
                .Select(link => (Number: int.Parse(link.Groups[1].Value), Target: link.Groups[2].Value))
                // The shell's own, of its script.
                .Where(fd => fd.Target != _runtime.Path)
                .ToList();
            Assert.That(descriptors.Select(fd => fd.Number), Is.EquivalentTo(new[] { 0, 1, 2 }), () => $"{verb}: {string.Join(", ", descriptors)}");
        }
    }

    [Test]
    public async Task Runtime_GetsAFixedEnvironment()
    {
        _runtime.Set("dumpenv");
        await TestContainer.RunAsync(Supervisor);
        foreach (var verb in new[] { "create", "start" })
        {
            var names = _runtime.Dumps(verb, "env").Single().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('=')[0]);
            // PWD, OLDPWD, SHLVL and _ are the shell's own.
            Assert.That(names.Except(["PWD", "OLDPWD", "SHLVL", "_"]), Is.SubsetOf(new[] { "PATH", "XDG_RUNTIME_DIR", "GOMAXPROCS", "TMPDIR" }), verb);
        }
    }

    private static async Task QuickAsync(Func<Task> call)
    {
        var clock = Stopwatch.StartNew();
        await call();
        Assert.That(clock.Elapsed, Is.LessThan(s_quick));
    }
}
