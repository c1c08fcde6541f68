using Containerd.Cgroups.V1;
using Containerd.Runc.V1;
using Containerd.TaskApi.V2;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.TaskApi.Status;

namespace Shim.Tests.ShimV2.Direct;

/// <summary>Every call of the task API, in and out of season, over every wire.</summary>
[TestFixture(TaskWire.TtrpcV2)]
[TestFixture(TaskWire.TtrpcV3)]
[TestFixture(TaskWire.GrpcV3)]
public sealed class TaskApiTests(TaskWire wire)
{
    private ShimV2Fixture _test = null!;

    [SetUp]
    public void SetUp()
    {
        _test = new ShimV2Fixture();
        _test.Daemon.StartTtrpc();
    }

    [TearDown]
    public async Task TearDownAsync()
    {
        if (_test is not null)
        {
            await _test.DisposeAsync();
        }
    }

    [Test]
    public async Task Life_CreateStartExitDelete()
    {
        using var output = new FifoReader(_test.PathOf("out"));
        using var errors = new FifoReader(_test.PathOf("err"));
        await using var task = await _test.CreateAsync("echo hello; echo oops >&2; exit 3", wire, request => (request.Stdout, request.Stderr) = (output.Path, errors.Path));
        var (id, shim) = (task.Id, task.Shim);
        var state = await shim.StateAsync(id);
        Assert.Multiple(() =>
        {
            Assert.That((state.Id, state.ExecId, state.Bundle), Is.EqualTo((id, "", task.Bundle.Path)));
            Assert.That((state.Status, state.Pid, state.ExitStatus, state.ExitedAt), Is.EqualTo((Status.Created, (uint)task.Pid, 0u, (Timestamp?)null)));
            Assert.That((state.Stdin, state.Stdout, state.Stderr, state.Terminal), Is.EqualTo(("", output.Path, errors.Path, false)));
        });

        // Waited for before it runs.
        var waiting = shim.WaitAsync(id);
        Assert.That(await shim.StartAsync(id), Is.EqualTo(task.Pid));
        var exit = await waiting;
        Assert.That((exit.ExitStatus, exit.ExitedAt is not null), Is.EqualTo((3u, true)));
        state = await shim.StateAsync(id);
        Assert.That((state.Status, state.Pid, state.ExitStatus, state.ExitedAt), Is.EqualTo((Status.Stopped, (uint)task.Pid, 3u, exit.ExitedAt)));
        Assert.That((await shim.WaitAsync(id)).ExitStatus, Is.EqualTo(3u), "waited for again, afterwards");
        var deleted = await shim.DeleteAsync(id);
        Assert.That((deleted.Pid, deleted.ExitStatus, deleted.ExitedAt), Is.EqualTo(((uint)task.Pid, 3u, exit.ExitedAt)));
        Assert.That(await output.ReadTextAsync(Poll.Deadline), Is.EqualTo("hello\n"));
        Assert.That(await errors.ReadTextAsync(Poll.Deadline), Is.EqualTo("oops\n"));
        await TaskClient.RefusedAsync(shim.StateAsync(id), StatusCode.NotFound, id);
        await _test.Daemon.Events.ExpectAsync(id, "create", "start", "exit 3", "delete 3");
        Assert.That((await shim.ConnectAsync(id)).TaskPid, Is.Zero, "a shim without its container still says who it is");
        await shim.ShutdownAsync(id);
        await Poll.Until(() => !HostProcess.Runs(task.ShimPid), Poll.Deadline, "the end of the shim");
    }

    [Test]
    public async Task Refusals_OfAContainer()
    {
        await using var task = await _test.CreateAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        await TaskClient.RefusedAsync(shim.CreateAsync(new CreateTaskRequest { Id = id, Bundle = task.Bundle.Path }), StatusCode.AlreadyExists, id);
        await TaskClient.RefusedAsync(shim.PauseAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.ResumeAsync(id), StatusCode.FailedPrecondition);
        Assert.That(await shim.StartAsync(id), Is.EqualTo(task.Pid));
        await TaskClient.RefusedAsync(shim.StartAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.ResumeAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.DeleteAsync(id), StatusCode.FailedPrecondition, "running");
        await TaskClient.RefusedAsync(shim.KillAsync(id, 0), StatusCode.InvalidArgument);
        await TaskClient.RefusedAsync(shim.KillAsync(id, 4_000_000_000), StatusCode.InvalidArgument);
        await shim.KillAsync(id, 9);
        Assert.That((await shim.WaitAsync(id)).ExitStatus, Is.EqualTo(137u));

        // Clients that stop a container match these words.
        await TaskClient.RefusedAsync(shim.KillAsync(id, 9), StatusCode.NotFound, "process already finished");
        await TaskClient.RefusedAsync(shim.KillAsync(id, 9, all: true), StatusCode.NotFound, "process already finished");
        await TaskClient.RefusedAsync(shim.StartAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.PauseAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.ExecAsync(id, "e1", "true"), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.CheckpointAsync(id, _test.PathOf("image")), StatusCode.FailedPrecondition);
        Assert.That((await shim.PidsAsync(id)).Processes, Is.Empty, "a daemon that comes back asks this, and takes an error for the loss of the shim");
    }

    [TestCase("")]
    [TestCase("..")]
    [TestCase("a/b")]
    [TestCase("-x")]
    public async Task Create_BadId_Refused(string id)
    {
        await using var task = await _test.CreateAsync(wire: wire);
        await TaskClient.RefusedAsync(task.Shim.CreateAsync(new CreateTaskRequest { Id = id, Bundle = task.Bundle.Path }), StatusCode.InvalidArgument);
    }

    [Test]
    public async Task UnknownNames_NotFound()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var shim = task.Shim;
        foreach (var (id, exec) in new[] { ("nobody", ""), (task.Id, "nobody") })
        {
            await TaskClient.RefusedAsync(shim.StateAsync(id, exec), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.StartAsync(id, exec == "" ? "x" : exec), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.DeleteAsync(id, exec == "" ? "x" : exec), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.KillAsync(id, 9, exec), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.WaitAsync(id, exec), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.ResizeAsync(id, exec, 80, 25), StatusCode.NotFound, "not found");
            await TaskClient.RefusedAsync(shim.CloseStdinAsync(id, exec), StatusCode.NotFound, "not found");
        }

        await TaskClient.RefusedAsync(shim.PidsAsync("nobody"), StatusCode.NotFound, "not found");
        await TaskClient.RefusedAsync(shim.StatsAsync("nobody"), StatusCode.NotFound, "not found");
        await TaskClient.RefusedAsync(shim.CallAsync("NoSuchCall", new StateRequest(), StateResponse.Parser), StatusCode.Unimplemented);
    }

    [Test]
    public async Task Exec_TwoSteps_FromItsNameToItsDeletion()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        using var output = new FifoReader(_test.PathOf("out"));
        await shim.ExecAsync(id, "e1", "echo hello; exit 5", stdout: output.Path);
        var state = await shim.StateAsync(id, "e1");
        Assert.That((state.Id, state.ExecId, state.Status, state.Pid, state.Stdout), Is.EqualTo((id, "e1", Status.Created, 0u, output.Path)));
        await TaskClient.RefusedAsync(shim.ExecAsync(id, "e1", "true"), StatusCode.AlreadyExists, "e1");
        await TaskClient.RefusedAsync(shim.KillAsync(id, 9, "e1"), StatusCode.FailedPrecondition, "process not created");
        var waiting = shim.WaitAsync(id, "e1");
        var pid = await shim.StartAsync(id, "e1");
        Assert.That(pid, Is.Positive);
        var exit = await waiting;
        Assert.That(exit.ExitStatus, Is.EqualTo(5u));
        state = await shim.StateAsync(id, "e1");
        Assert.That((state.Status, state.Pid, state.ExitStatus, state.ExitedAt), Is.EqualTo((Status.Stopped, (uint)pid, 5u, exit.ExitedAt)));
        await TaskClient.RefusedAsync(shim.StartAsync(id, "e1"), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.KillAsync(id, 9, "e1"), StatusCode.NotFound, "process already finished");
        var deleted = await shim.DeleteAsync(id, "e1");
        Assert.That((deleted.Pid, deleted.ExitStatus, deleted.ExitedAt), Is.EqualTo(((uint)pid, 5u, exit.ExitedAt)));
        Assert.That(await output.ReadTextAsync(Poll.Deadline), Is.EqualTo("hello\n"));
        await TaskClient.RefusedAsync(shim.DeleteAsync(id, "e1"), StatusCode.NotFound, "not found");
        await _test.Daemon.Events.ExpectAsync(id, "create", "start", "exec-added e1", "exec-started e1", "exit e1 5");
    }

    [Test]
    public async Task Exec_DeletedBeforeItsStart_OrRunning()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        await shim.ExecAsync(id, "e1", "true");
        var waiting = shim.WaitAsync(id, "e1");
        Assert.That((await shim.DeleteAsync(id, "e1")).Pid, Is.Zero);
        await TaskClient.RefusedAsync(waiting, StatusCode.NotFound);
        await TaskClient.RefusedAsync(shim.StartAsync(id, "e1"), StatusCode.NotFound);

        // The name is free again.
        await shim.ExecAsync(id, "e1", "sleep 1000000");
        _ = await shim.StartAsync(id, "e1");
        await TaskClient.RefusedAsync(shim.StartAsync(id, "e1"), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.DeleteAsync(id, "e1"), StatusCode.FailedPrecondition, "running");
        await shim.KillAsync(id, 15, "e1");
        Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.EqualTo(143u));
        Assert.That((await shim.DeleteAsync(id, "e1")).ExitStatus, Is.EqualTo(143u));
    }

    [Test]
    public async Task Exec_BadDescriptions_Refused_AndTheNameStaysFree()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        await TaskClient.RefusedAsync(shim.ExecAsync(new ExecProcessRequest { Id = id, ExecId = "e1" }), StatusCode.InvalidArgument, "e1");
        await TaskClient.RefusedAsync(shim.ExecAsync(new ExecProcessRequest
        {
            Id = id,
            ExecId = "e1",
            Spec = new Any { TypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/Process", Value = Google.Protobuf.ByteString.CopyFromUtf8("{") },
        }), StatusCode.InvalidArgument);
        await TaskClient.RefusedAsync(shim.ExecAsync(id, "", "true"), StatusCode.InvalidArgument);
        await shim.ExecAsync(new ExecProcessRequest { Id = id, ExecId = "e1", Spec = TaskClient.Process(["no-such-program"]) });
        await TaskClient.RefusedAsync(shim.StartAsync(id, "e1"), StatusCode.InvalidArgument, "no-such-program");

        // A start that failed leaves a process that is deleted like any other.
        _ = await shim.DeleteAsync(id, "e1");
        await shim.ExecAsync(id, "e1", "exit 1");
        _ = await shim.StartAsync(id, "e1");
        Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.EqualTo(1u));
    }

    [Test]
    public async Task Exec_BeforeTheContainersStart_Runs()
    {
        await using var task = await _test.CreateAsync(wire: wire);
        await task.Shim.ExecAsync(task.Id, "e1", "exit 6");
        _ = await task.Shim.StartAsync(task.Id, "e1");
        Assert.That((await task.Shim.WaitAsync(task.Id, "e1")).ExitStatus, Is.EqualTo(6u));
        _ = await task.Shim.StartAsync(task.Id);
        Assert.That((await task.Shim.StateAsync(task.Id)).Status, Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Stdin_IsRead_AndItsEndComesWithCloseIO()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        using var output = new FifoReader(_test.PathOf("out"));
        var stdin = Fifo.Create(_test.PathOf("in"));
        var opening = FifoWriter.OpenAsync(stdin, Poll.Deadline);
        await shim.ExecAsync(id, "e1", "wc -l", stdin, output.Path);
        _ = await shim.StartAsync(id, "e1");
        using (var writer = await opening)
        {
            await writer.WriteAsync("a\nb\nc\n", Poll.Deadline);
        }

        await shim.CloseStdinAsync(id, "e1");
        Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.Zero);
        Assert.That(await output.ReadTextAsync(Poll.Deadline), Is.EqualTo("3\n"));

        // Of a process that has ended, and of one that has no stdin.
        await shim.CloseStdinAsync(id, "e1");
        await shim.CloseStdinAsync(id);
    }

    [Test]
    public async Task Terminal_HasTheSizeThatItIsGiven_AndOthersIgnoreIt()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        using var output = new FifoReader(_test.PathOf("out"));
        await shim.ExecAsync(id, "e1", "while [ \"$(stty size 2>/dev/null)\" != '44 123' ]; do sleep 0.02; done; echo seen", stdout: output.Path, terminal: true);

        // Before its start: clients ask without knowing.
        await shim.ResizeAsync(id, "e1", 1, 1);
        _ = await shim.StartAsync(id, "e1");
        Assert.That((await shim.StateAsync(id, "e1")).Terminal, Is.True);
        await shim.ResizeAsync(id, "e1", 123, 44);
        Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.Zero);
        _ = await shim.DeleteAsync(id, "e1");
        Assert.That(await output.ReadTextAsync(Poll.Deadline), Is.EqualTo("seen\r\n"));
        await shim.ResizeAsync(id, "", 80, 25);
    }

    [Test]
    public async Task PauseResumeUpdateStats_ShowInTheCgroup()
    {
        await using var task = await _test.RunAsync(wire: wire, bundle: bundle => bundle.PidsLimit(100));
        var (id, shim) = (task.Id, task.Shim);
        await shim.ExecAsync(id, "e1", "sleep 1000000");
        _ = await shim.StartAsync(id, "e1");
        await shim.PauseAsync(id);
        Assert.That((await shim.StateAsync(id)).Status, Is.EqualTo(Status.Paused));
        Assert.That((await shim.StateAsync(id, "e1")).Status, Is.EqualTo(Status.Paused));
        await TaskClient.RefusedAsync(shim.PauseAsync(id), StatusCode.FailedPrecondition);
        await TaskClient.RefusedAsync(shim.DeleteAsync(id), StatusCode.FailedPrecondition, "paused");
        await shim.ResumeAsync(id);
        Assert.That((await shim.StateAsync(id)).Status, Is.EqualTo(Status.Running));
        await shim.UpdateAsync(id, """{"pids":{"limit":77}}""");
        Assert.That((await File.ReadAllTextAsync(task.Bundle.CgroupFile("pids", "pids.max", "pids.max"))).Trim(), Is.EqualTo("77"));
        await TaskClient.RefusedAsync(shim.CallAsync("Update", new UpdateTaskRequest { Id = id }, Empty.Parser), StatusCode.InvalidArgument, id);
        await TaskClient.RefusedAsync(shim.UpdateAsync(id, "no JSON"), StatusCode.InvalidArgument);
        await _test.Daemon.Events.ExpectAsync(id, "create", "start", "exec-added e1", "exec-started e1", "paused", "resumed");
        var stats = await shim.StatsAsync(id);
        Assert.That(stats.TypeUrl, Is.EqualTo(Machine.CgroupV1 ? "io.containerd.cgroups.v1.Metrics" : "io.containerd.cgroups.v2.Metrics"));
        var pids = Machine.CgroupV1 ? Metrics.Parser.ParseFrom(stats.Value).Pids.Current : Containerd.Cgroups.V2.Metrics.Parser.ParseFrom(stats.Value).Pids.Current;
        Assert.That(pids, Is.EqualTo(2ul));
    }

    [Test]
    public async Task Pids_AllProcesses_ExecsByTheirNames()
    {
        await using var task = await _test.RunAsync("sleep 1000001 & sleep 1000002; true", wire);
        var (id, shim) = (task.Id, task.Shim);
        await shim.ExecAsync(id, "e1", "exec sleep 1000000");
        var exec = (uint)await shim.StartAsync(id, "e1");
        var processes = await Poll.For(
            async () => (await shim.PidsAsync(id)).Processes.ToList(), found => found.Count == 4, Poll.Deadline, "init, its two children and the exec");
        Assert.That(processes.Select(process => process.Pid), Does.Contain((uint)task.Pid).And.Contain(exec));
        var named = processes.Where(process => process.Info is not null).ToList();
        Assert.That(named.Select(process => (process.Pid, ProcessDetails.Parser.ParseFrom(process.Info.Value).ExecId)), Is.EqualTo([(exec, "e1")]));
        Assert.That(named[0].Info.TypeUrl, Is.EqualTo("containerd.runc.v1.ProcessDetails"));
    }

    [Test]
    public async Task Shutdown_WithAContainer_IsNotHeeded()
    {
        await using var task = await _test.RunAsync(wire: wire);
        await task.Shim.ShutdownAsync(task.Id);
        Assert.That((await task.Shim.StateAsync(task.Id)).Status, Is.EqualTo(Status.Running));
        var connected = await task.Shim.ConnectAsync(task.Id);
        Assert.That((connected.ShimPid, connected.TaskPid), Is.EqualTo(((uint)task.ShimPid, (uint)task.Pid)));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Kill_TermForAPausedExec_WaitsForResume()
    {
        await using var task = await _test.RunAsync(wire: wire);
        var (id, shim) = (task.Id, task.Shim);
        await shim.ExecAsync(id, "e1", "sleep 1000000");
        var exec = await shim.StartAsync(id, "e1");
        await shim.PauseAsync(id);
        await shim.KillAsync(id, 15, "e1");
        await Task.Delay(200);
        Assert.That(HostProcess.Runs(exec), Is.True);
        await shim.ResumeAsync(id);
        Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.EqualTo(143u));
        await TaskClient.RefusedAsync(shim.KillAsync(id, 15, "e1"), StatusCode.NotFound, "process already finished");
    }

    [Test]
    public async Task CheckpointAndRestore_WhereThereIsNoCriu_FailedPrecondition()
    {
        _test.SearchPath = Directory.CreateDirectory(_test.PathOf("programs")).FullName;
        File.CreateSymbolicLink(_test.PathOf("programs/runc"), Machine.Runc!);
        await using var task = await _test.RunAsync(wire: wire);
        await TaskClient.RefusedAsync(task.Shim.CheckpointAsync(task.Id, _test.PathOf("image")), StatusCode.FailedPrecondition, task.Id);
        Assert.That((await task.Shim.StateAsync(task.Id)).Status, Is.EqualTo(Status.Running));
        await TaskClient.RefusedAsync(
            task.Shim.CreateAsync(new CreateTaskRequest { Id = "restored", Bundle = task.Bundle.Path, Checkpoint = _test.PathOf("image") }),
            StatusCode.FailedPrecondition,
            "CRIU");
    }

    [Test]
    public async Task ManyContainersInOneShim_AreToldApart()
    {
        await using var first = await _test.RunAsync(wire: wire);
        var shim = first.Shim;
        var bundle = _test.NewBundle(builder => builder.Script("exit 8"));
        Assert.That(await shim.CreateAsync(new CreateTaskRequest { Id = "second", Bundle = bundle.Path }), Is.Not.EqualTo(first.Pid));
        _ = await shim.StartAsync("second");
        Assert.That((await shim.WaitAsync("second")).ExitStatus, Is.EqualTo(8u));
        await shim.ShutdownAsync("second");
        Assert.That((await shim.DeleteAsync("second")).ExitStatus, Is.EqualTo(8u));
        await _test.Daemon.Events.ExpectAsync("second", "create", "start", "exit 8", "delete 8");
        await shim.ShutdownAsync("second");
        Assert.That((await shim.StateAsync(first.Id)).Status, Is.EqualTo(Status.Running), "the shim stays for the other");
    }
}
