using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Process = Containerd.V1.Process;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>Values that are wrong: each gets the right code and a message that names the cause, and leaves nothing behind.</summary>
public sealed class BadInputTests : SupervisorTests
{
    private static readonly string[] s_malformed =
    [
        "", "../x", "a/b", "/abs", ".hidden", "-x", "_x", "ü", "a b", "a\nb", "a\0b", "%2e", new('a', 129), new('a', 4096),
    ];

    private static IEnumerable<TestCaseData> MalformedIds =>
        s_malformed.Select((id, n) => new TestCaseData(id).SetArgDisplayNames(id.Length > 20 ? $"{id.Length} characters" : $"case {n}"));

    [TestCaseSource(nameof(MalformedIds))]
    public async Task Create_MalformedId_InvalidArgument(string id)
    {
        var bundle = Supervisor.NewBundle().Write();
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = id, BundlePath = bundle.Path }),
            StatusCode.InvalidArgument,
            ["id"]);
    }

    [TestCaseSource(nameof(MalformedIds))]
    public async Task EveryCall_MalformedId_InvalidArgument(string id)
    {
        foreach (var (name, call) in CallsOn(id))
        {
            Assert.That((await Refusal.OutcomeAsync(call())).StatusCode, Is.EqualTo(StatusCode.InvalidArgument), name);
        }
    }

    [Test]
    public async Task EveryCall_UnknownId_NotFoundNamingTheId()
    {
        foreach (var (name, call) in CallsOn("nobody-17"))
        {
            var outcome = await Refusal.OutcomeAsync(call());
            Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.NotFound), name);
            Assert.That(outcome.Detail, Does.Contain("nobody-17"), name);
        }
    }

    [Test]
    public async Task Create_UsedId_AlreadyExistsAndTheFirstIsUnharmed()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = container.Id, BundlePath = Supervisor.NewBundle().Write().Path }),
            StatusCode.AlreadyExists,
            [container.Id]);
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
        Assert.That((await container.ShellAsync("exit 5")).Status, Is.EqualTo(5u));
    }

    [Test]
    public Task Create_NoBundle_NotFound() => RefuseAsync("/no/such/bundle", StatusCode.NotFound, "/no/such/bundle");

    [TestCase("")]
    [TestCase("relative/bundle")]
    [TestCase("/with\0nul")]
    public Task Create_BadBundlePath_InvalidArgument(string path) => RefuseAsync(path, StatusCode.InvalidArgument, "bundle");

    [Test]
    public Task Create_BundleWithoutConfig_NotFound() => RefuseAsync(Supervisor.NewDirectory(), StatusCode.NotFound, "config.json");

    [TestCase("{ \"process\": ", TestName = "Create_BrokenConfig_InvalidArgument(cut off)")]
    [TestCase("", TestName = "Create_BrokenConfig_InvalidArgument(empty)")]
    [TestCase("[]", TestName = "Create_BrokenConfig_InvalidArgument(not an object)")]
    [TestCase("{}", TestName = "Create_BrokenConfig_InvalidArgument(nothing in it)")]
    [TestCase("{\"process\":{\"args\":\"sh\",\"cwd\":\"/\"},\"root\":{\"path\":\"/\"}}", TestName = "Create_BrokenConfig_InvalidArgument(wrong type)")]
    public async Task Create_BrokenConfig_InvalidArgument(string config)
    {
        var bundle = Supervisor.NewBundle().Write();
        await File.WriteAllTextAsync(bundle.Config, config);
        await RefuseAsync(bundle.Path, StatusCode.InvalidArgument);
    }

    [Test]
    public Task Create_CommandMissing_InvalidArgumentInTheRuntimesWords() =>
        RefuseAsync(Supervisor.NewBundle().Args("/no/such/command").Write().Path, StatusCode.InvalidArgument, "/no/such/command", "no such file or directory");

    [Test]
    public Task Create_CommandNotExecutable_InvalidArgumentInTheRuntimesWords() =>
        RefuseAsync(Supervisor.NewBundle().Args("/etc/not-executable").Write().Path, StatusCode.InvalidArgument, "/etc/not-executable", "permission denied");

    [TestCase("nope://x")]
    [TestCase("relative/path")]
    [TestCase("/no/such/directory/out")]
    public async Task Create_BadStreamAddress_Refused(string address)
    {
        var request = new CreateContainerRequest { Id = "streams", BundlePath = Supervisor.NewBundle().Write().Path, Stdout = address };
        using var call = Supervisor.Containers.CreateContainerAsync(request);
        var outcome = await Refusal.OutcomeAsync(call);
        Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.InvalidArgument).Or.EqualTo(StatusCode.NotFound), outcome.ToString());
        Assert.That(outcome.Detail, Does.Contain(address));
    }

    [Test]
    public async Task StartContainer_Twice_FailedPrecondition()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Refusal.ExpectAsync(
            Supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = container.Id }), StatusCode.FailedPrecondition, [container.Id, "running"]);
    }

    [TestCase(0u)]
    [TestCase(65u)]
    [TestCase(uint.MaxValue)]
    public async Task Signal_NoSuchSignal_InvalidArgument(uint signal)
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Refusal.ExpectAsync(
            Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = container.Id, Pid = container.Pid, Signal = signal }),
            StatusCode.InvalidArgument,
            ["signal"]);
        await Refusal.ExpectAsync(
            Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = signal }), StatusCode.InvalidArgument, ["signal"]);
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task ProcessCalls_PidsOfOthers_NotFoundAndUnharmed()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var other = await TestContainer.RunAsync(Supervisor);
        using var stranger = System.Diagnostics.Process.Start("sleep", "1000");
        try
        {
            foreach (var pid in new[] { 1u, 2u, other.Pid, (uint)stranger.Id, (uint)Supervisor.ProcessId, (await container.InspectAsync()).Shim.Pid, 4194304u })
            {
                var id = container.Id;
                await Refusal.ExpectAsync(
                    Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = id, Pid = pid, Signal = 9 }), StatusCode.NotFound, [id, $"{pid}"]);
                await Refusal.ExpectAsync(
                    Supervisor.Containers.GetProcessAsync(new GetProcessRequest { ContainerId = id, Pid = pid }), StatusCode.NotFound, [id, $"{pid}"]);
                await Refusal.ExpectAsync(
                    Supervisor.Containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = id, Pid = pid }), StatusCode.NotFound, [id, $"{pid}"]);
                await Refusal.ExpectAsync(
                    Supervisor.Control.WaitAsync(new WaitRequest { ContainerId = id, Pid = pid }), StatusCode.NotFound, [id, $"{pid}"]);
            }

            // No pid at all.
            foreach (var pid in new[] { 0x80000000u, uint.MaxValue })
            {
                await Refusal.ExpectAsync(
                    Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = container.Id, Pid = pid, Signal = 9 }), StatusCode.InvalidArgument, [$"{pid}"]);
            }

            Assert.That(stranger.HasExited, Is.False);
            Assert.That(await other.StatusAsync(), Is.EqualTo(Status.Running));
            Assert.That(Supervisor.IsRunning, Is.True);
        }
        finally
        {
            stranger.Kill();
        }
    }

    [Test]
    public async Task DeleteProcess_Running_FailedPrecondition()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sleep", "1000");
        await Refusal.ExpectAsync(
            Supervisor.Containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = container.Id, Pid = exec }),
            StatusCode.FailedPrecondition,
            [$"{exec}", "running"]);
        Assert.That(HostProcess.Runs((int)exec), Is.True);
    }

    [Test]
    public async Task DeleteProcess_Init_FailedPrecondition([Values] bool ended)
    {
        var container = await TestContainer.RunAsync(Supervisor);
        if (ended)
        {
            await container.KillAsync();
        }

        await Refusal.ExpectAsync(
            Supervisor.Containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = container.Id, Pid = container.Pid }),
            StatusCode.FailedPrecondition,
            ["delete the container"]);
    }

    [TestCase("/no/such/command", "no such file or directory")]
    [TestCase("/etc/not-executable", "permission denied")]
    [TestCase("/etc", "")]
    [TestCase("no-such-command", "not found")]
    public async Task StartProcess_CannotRun_RefusedInTheRuntimesWords(string command, string words)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        using var call = Supervisor.Containers.StartProcessAsync(container.ExecRequest(command));
        var outcome = await Refusal.OutcomeAsync(call);
        Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.InvalidArgument).Or.EqualTo(StatusCode.NotFound), outcome.ToString());
        Assert.That(outcome.Detail, Does.Contain(command).And.Contain(words));

        // Nothing of it is seen: no process, no event.
        Assert.That((await container.ProcessesAsync()).Select(p => p.Pid), Is.EqualTo(new[] { container.Pid }));
        await container.ShellAsync("exit 0");
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task StartProcess_BadFields_InvalidArgument()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        (string What, StartProcessRequest Request)[] cases =
        [
            ("an empty command", container.ExecRequest("")),
            ("a relative directory", new() { ContainerId = container.Id, Process = new Process { Args = { "true" }, Cwd = "relative" } }),
            ("a scheme that there is not", new() { ContainerId = container.Id, Process = new Process { Args = { "true" } }, Stdout = "nope://x" }),
        ];
        foreach (var (what, request) in cases)
        {
            using var call = Supervisor.Containers.StartProcessAsync(request);
            var outcome = await Refusal.OutcomeAsync(call);
            Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.InvalidArgument), $"{what}: {outcome}");
        }

        Assert.That((await container.ProcessesAsync()).Select(p => p.Pid), Is.EqualTo(new[] { container.Pid }));
    }

    [Test]
    public async Task Update_BadBundle_RefusedAndNothingChanges()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.PidsLimit(50));
        var broken = Supervisor.NewBundle().Write();
        await File.WriteAllTextAsync(broken.Config, "{");
        foreach (var (path, code) in new[]
        {
            ("/no/such/bundle", StatusCode.NotFound), (broken.Path, StatusCode.InvalidArgument), ("", StatusCode.InvalidArgument), ("relative", StatusCode.InvalidArgument),
        })
        {
            await Refusal.ExpectAsync(
                Supervisor.Containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = container.Id, BundlePath = path }), code);
        }

        Assert.That((await File.ReadAllTextAsync(container.Bundle.CgroupFile("pids", "pids.max", "pids.max"))).Trim(), Is.EqualTo("50"));
    }

    [TestCase(0u, 24u)]
    [TestCase(80u, 0u)]
    [TestCase(65536u, 24u)]
    public async Task Resize_BadSize_InvalidArgument(uint width, uint height)
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Terminal(), streams: r => r.Console = true);
        await Refusal.ExpectAsync(
            Supervisor.Control.ResizeConsoleAsync(new ResizeConsoleRequest { ContainerId = container.Id, Width = width, Height = height }), StatusCode.InvalidArgument);
    }

    [Test]
    public async Task Kill_AllAndPid_InvalidArgument()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Refusal.ExpectAsync(
            Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Pid = container.Pid, Signal = 9, All = true }), StatusCode.InvalidArgument);
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Events_FutureNumber_InvalidArgument()
    {
        using var call = Supervisor.Control.Events(new EventsRequest { AfterSequence = ulong.MaxValue }, deadline: DateTime.UtcNow.AddSeconds(10));
        var refusal = Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None))!;
        Assert.That(refusal.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        await Task.CompletedTask;
    }

    [Test]
    public async Task Create_MessageTooLarge_ResourceExhausted()
    {
        using var call = Supervisor.Containers.CreateContainerAsync(
            new CreateContainerRequest { Id = "big", BundlePath = "/" + new string('x', Containerd.UnixChannel.MaxMessageBytes - 1000) });
        Assert.That((await Refusal.OutcomeAsync(call)).StatusCode, Is.EqualTo(StatusCode.ResourceExhausted).Or.EqualTo(StatusCode.InvalidArgument));
        Assert.That(Supervisor.IsRunning, Is.True);
    }

    private async Task RefuseAsync(string bundle, StatusCode code, params string[] naming)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "refused", BundlePath = bundle }), code, naming);
        Assert.That((await Supervisor.Containers.ListContainersAsync(new ListContainersRequest())).Containers, Is.Empty);
        Assert.That(Directory.Exists(Path.Combine(Supervisor.Root, "c", "refused")), Is.False);

        // The id is free, and a creation that failed was never announced.
        var container = await TestContainer.CreateAsync(Supervisor, id: "refused");
        await events.WaitForAsync(e => e.ContainerId == "refused" && e.Pid == container.Pid, Poll.Deadline);
        Assert.That(events.Of("refused").Last(e => e.Type == EventType.Created).Pid, Is.EqualTo(container.Pid));
        events.AssertOrder();
    }

    private IEnumerable<(string Name, Func<AsyncUnaryCall<object>> Call)> CallsOn(string id)
    {
        var containers = Supervisor.Containers;
        var control = Supervisor.Control;
        var bundle = Supervisor.NewBundle().Write().Path;
        return
        [
            ("StartContainer", Call(() => containers.StartContainerAsync(new StartContainerRequest { Id = id }))),
            ("UpdateContainer", Call(() => containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = id, BundlePath = bundle }))),
            ("PauseContainer", Call(() => containers.PauseContainerAsync(new PauseContainerRequest { Id = id }))),
            ("ResumeContainer", Call(() => containers.ResumeContainerAsync(new ResumeContainerRequest { Id = id }))),
            ("DeleteContainer", Call(() => containers.DeleteContainerAsync(new DeleteContainerRequest { Id = id }))),
            ("GetContainer", Call(() => containers.GetContainerAsync(new GetContainerRequest { Id = id }))),
            ("StartProcess", Call(() => containers.StartProcessAsync(new StartProcessRequest { ContainerId = id, Process = new Process { Args = { "true" } } }))),
            ("GetProcess", Call(() => containers.GetProcessAsync(new GetProcessRequest { ContainerId = id, Pid = 100 }))),
            ("SignalProcess", Call(() => containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = id, Pid = 100, Signal = 15 }))),
            ("DeleteProcess", Call(() => containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = id, Pid = 100 }))),
            ("ListProcesses", Call(() => containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = id }))),
            ("Wait", Call(() => control.WaitAsync(new WaitRequest { ContainerId = id }))),
            ("ResizeConsole", Call(() => control.ResizeConsoleAsync(new ResizeConsoleRequest { ContainerId = id, Width = 80, Height = 24 }))),
            ("CloseStdin", Call(() => control.CloseStdinAsync(new CloseStdinRequest { ContainerId = id }))),
            ("Kill", Call(() => control.KillAsync(new KillRequest { ContainerId = id, Signal = 15 }))),
            ("GetStats", Call(() => control.GetStatsAsync(new GetStatsRequest { ContainerId = id }))),
            ("Inspect", Call(() => control.InspectAsync(new InspectRequest { ContainerIds = { id } }))),
        ];
    }

    // Calls of different answers, in one list.
    private static Func<AsyncUnaryCall<object>> Call<T>(Func<AsyncUnaryCall<T>> call)
        where T : class => () =>
    {
        var inner = call();
        return new AsyncUnaryCall<object>(
            AnswerAsync(inner.ResponseAsync), inner.ResponseHeadersAsync, inner.GetStatus, inner.GetTrailers, inner.Dispose);

        static async Task<object> AnswerAsync(Task<T> answer) => await answer;
    };
}
