using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Reflection.V1Alpha;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>The other RPCs of SupervisorService, health and reflection.</summary>
public sealed class ControlTests : SupervisorTests
{
    [Test]
    public async Task Wait_BeforeTheEnd_AnswersAtTheEnd()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sleep", "1000");
        var waits = new[] { container.WaitAsync(exec), container.WaitAsync(exec), container.WaitAsync(), container.WaitAsync(container.Pid) };
        await Task.Delay(100);
        Assert.That(waits.Any(wait => wait.IsCompleted), Is.False);
        await container.SignalAsync(exec, 15);
        Assert.That((await waits[0]).Status, Is.EqualTo(143u));
        Assert.That(await waits[1], Is.EqualTo(await waits[0]));
        Assert.That(waits[2].IsCompleted, Is.False);
        await container.SignalAsync(container.Pid, 9);
        Assert.That((await waits[2]).Status, Is.EqualTo(137u));
        Assert.That(await waits[3], Is.EqualTo(await waits[2]));
        Assert.That((await Supervisor.Control.WaitAsync(new WaitRequest { ContainerId = container.Id })).Pid, Is.EqualTo(container.Pid));
    }

    [Test]
    public async Task Wait_CallersGiveUp_ContainerGoesOn()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Task.WhenAll(Enumerable.Range(0, 50).Select(async _ =>
        {
            using var call = Supervisor.Control.WaitAsync(new WaitRequest { ContainerId = container.Id }, deadline: DateTime.UtcNow.AddMilliseconds(200));
            Assert.That((await Refusal.OutcomeAsync(call)).StatusCode, Is.EqualTo(StatusCode.DeadlineExceeded));
        }));
        Assert.That((await container.ShellAsync("exit 0")).Status, Is.Zero);
    }

    [Test]
    public async Task CloseStdin_WriterStillThere_ReaderGetsAllThenTheEnd()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var (pid, stdin, stdout) = await CountBytesAsync(container);
        using var reader = stdout;
        using var writer = await FifoWriter.OpenAsync(stdin, Poll.Deadline);
        await writer.WriteAsync(new byte[200_000], Poll.Deadline);
        Assert.That(HostProcess.Runs((int)pid), Is.True);
        await Supervisor.Control.CloseStdinAsync(new CloseStdinRequest { ContainerId = container.Id, Pid = pid });
        writer.Dispose();
        Assert.That((await container.WaitAsync(pid)).Status, Is.Zero);
        Assert.That((await stdout.ReadTextAsync(Poll.Deadline)).Trim(), Is.EqualTo("200000"));

        // A second time is harmless, after the end too.
        await Supervisor.Control.CloseStdinAsync(new CloseStdinRequest { ContainerId = container.Id, Pid = pid });
    }

    [Test]
    public async Task Stdin_LastWriterGone_IsTheEnd()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var (pid, stdin, stdout) = await CountBytesAsync(container);
        using var reader = stdout;
        using (var writer = await FifoWriter.OpenAsync(stdin, Poll.Deadline))
        {
            await writer.WriteAsync(new byte[300_000], Poll.Deadline);
        }

        Assert.That((await container.WaitAsync(pid)).Status, Is.Zero);
        Assert.That((await stdout.ReadTextAsync(Poll.Deadline)).Trim(), Is.EqualTo("300000"));
    }

    [Test]
    public async Task CloseStdin_NobodyEverWrote_IsTheEnd()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var (pid, _, stdout) = await CountBytesAsync(container);
        using var reader = stdout;
        await Supervisor.Control.CloseStdinAsync(new CloseStdinRequest { ContainerId = container.Id, Pid = pid });
        Assert.That((await container.WaitAsync(pid)).Status, Is.Zero);
        Assert.That((await stdout.ReadTextAsync(Poll.Deadline)).Trim(), Is.EqualTo("0"));
    }

    [Test]
    public async Task ResizeConsole_InitAndExec_TheProcessesSeeIt()
    {
        var directory = Supervisor.NewDirectory();
        using var output = new FifoReader(Path.Combine(directory, "out"));
        var container = await TestContainer.CreateAsync(
            Supervisor,
            b => b.Terminal().Script("stty size; trap 'stty size' WINCH; while :; do usleep 10000; done"),
            streams: r => (r.Console, r.Stdout) = (true, output.Path));
        await ResizeAsync(0, 101, 41);
        await container.StartAsync();
        await output.WaitForTextAsync("41 101\r\n", Poll.Deadline);
        await ResizeAsync(container.Pid, 400, 90);
        await output.WaitForTextAsync("90 400\r\n", Poll.Deadline);

        using var execOutput = new FifoReader(Path.Combine(directory, "exec"));
        var request = container.ExecRequest("sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do usleep 10000; done");
        (request.Console, request.Stdout) = (true, execOutput.Path);
        var exec = await container.ExecAsync(request);
        await execOutput.WaitForTextAsync("ready", Poll.Deadline);
        await ResizeAsync(exec, 77, 33);
        await execOutput.WaitForTextAsync("33 77\r\n", Poll.Deadline);
        Assert.That((await container.WaitAsync(exec)).Status, Is.Zero);

        async Task ResizeAsync(uint pid, uint width, uint height) => await Supervisor.Control.ResizeConsoleAsync(
            new ResizeConsoleRequest { ContainerId = container.Id, Pid = pid, Width = width, Height = height });
    }

    [Test]
    public async Task AttachDetachReopen_WhatCannotBe_IsRefused()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var fifo = Fifo.Create(Path.Combine(Supervisor.NewDirectory(), "out"));
        using var reader = Fifo.Open(fifo, OpenFlags.O_RDONLY | OpenFlags.O_NONBLOCK);
        (AsyncUnaryCall<Empty> Call, StatusCode Code)[] cases =
        [
            (Supervisor.Control.AttachAsync(new AttachRequest { ContainerId = "nosuch", Stdout = fifo }), StatusCode.NotFound),
            (Supervisor.Control.AttachAsync(new AttachRequest { ContainerId = container.Id, Pid = 1, Stdout = fifo }), StatusCode.NotFound),
            (Supervisor.Control.AttachAsync(new AttachRequest { ContainerId = container.Id, Stdout = "nope://x" }), StatusCode.InvalidArgument),
            (Supervisor.Control.AttachAsync(new AttachRequest { ContainerId = container.Id, Stdout = "relative" }), StatusCode.InvalidArgument),
            (Supervisor.Control.AttachAsync(new AttachRequest { ContainerId = container.Id, Stdout = fifo }), StatusCode.FailedPrecondition),
            (Supervisor.Control.DetachAsync(new DetachRequest { ContainerId = "nosuch", Stdout = fifo }), StatusCode.NotFound),
            (Supervisor.Control.DetachAsync(new DetachRequest { ContainerId = container.Id, Stdout = fifo }), StatusCode.NotFound),
            (Supervisor.Control.ReopenLogsAsync(new ReopenLogsRequest { ContainerId = "nosuch" }), StatusCode.NotFound),
            (Supervisor.Control.ReopenLogsAsync(new ReopenLogsRequest { ContainerId = container.Id }), StatusCode.OK),
        ];
        foreach (var ((call, code), number) in cases.Select((one, i) => (one, i)))
        {
            using (call)
            {
                var outcome = await Refusal.OutcomeAsync(call);
                Assert.That(outcome.StatusCode, Is.EqualTo(code), $"case {number}: {outcome}");
            }
        }

        Assert.That(await File.ReadAllTextAsync(Supervisor.LogPath), Does.Contain($"audit: Attach in container {container.Id}, pid 0, by uid"));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Stats_BusyContainer_ArePlausible()
    {
        var container = await TestContainer.RunAsync(
            Supervisor,
            b => b.MemoryLimit(128 << 20).PidsLimit(40).Script("dd if=/dev/zero of=/tmp/file bs=1M count=20 2>/dev/null; i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; sleep 1000 & wait"));
        await Poll.Until(async () => (await container.ProcessesAsync()).Any(p => p.Args is ["sleep", ..]), Poll.Deadline, "the work is done");
        var stats = (await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id })).Stats;
        Assert.That(stats.CgroupVersion, Is.EqualTo(Machine.CgroupV1 ? 1u : 2u));
        Assert.That(stats.Cpu.UsageNs, Is.InRange(1_000_000UL, 60_000_000_000UL));
        Assert.That(stats.Memory.UsageBytes, Is.InRange(20UL << 20, 128UL << 20), "20 MB of tmpfs count");
        Assert.That(stats.Memory.PeakBytes, Is.GreaterThanOrEqualTo(20UL << 20));
        Assert.That(stats.Memory.LimitBytes, Is.EqualTo(128UL << 20));
        Assert.That(stats.Memory.OomKills, Is.Zero);
        Assert.That((stats.Pids.Current, stats.Pids.Limit), Is.EqualTo((2UL, 40UL)));
        Assert.That(stats.Time.ToDateTime(), Is.EqualTo(DateTime.UtcNow).Within(TimeSpan.FromSeconds(30)));

        var later = (await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id })).Stats;
        Assert.That(later.Cpu.UsageNs, Is.GreaterThanOrEqualTo(stats.Cpu.UsageNs));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Stats_NoLimits_AreZero()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var stats = (await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id })).Stats;
        Assert.That((stats.Memory.LimitBytes, stats.Pids.Limit), Is.EqualTo((0UL, 0UL)));
        Assert.That(stats.Pids.Current, Is.EqualTo(1UL));
    }

    [Test]
    public async Task Inspect_OneContainer_SaysEverything()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Owner("ann").Terminal(), streams: r => r.Console = true);
        var exec = await container.ExecAsync("sh", "-c", "exit 12");
        await container.WaitAsync(exec);
        var details = await container.InspectAsync();
        Assert.That((details.Id, details.Bundle, details.Status, details.Pid), Is.EqualTo((container.Id, container.Bundle.Path, Status.Running, container.Pid)));
        Assert.That(details.Owners, Is.EqualTo(new[] { "ann" }));
        Assert.That(details.Terminal, Is.True);
        Assert.That(details.Exit, Is.Null);
        Assert.That(details.CreatedAt.ToDateTime(), Is.EqualTo(DateTime.UtcNow).Within(TimeSpan.FromMinutes(1)));
        Assert.That(details.Shim.StateDirectory, Is.EqualTo(Path.Combine(Supervisor.Root, "c", container.Id)));
        var init = details.Processes.Single(p => p.Init);
        Assert.That((init.Pid, init.Status, init.Terminal), Is.EqualTo((container.Pid, Status.Running, true)));
        Assert.That(init.StartedAt.ToDateTime(), Is.GreaterThanOrEqualTo(init.CreatedAt.ToDateTime()));
        var ended = details.Processes.Single(p => p.Pid == exec);
        Assert.That((ended.Status, ended.Exit.Status, ended.Exit.Reason), Is.EqualTo((Status.Stopped, 12u, ExitReason.Exited)));

        await container.KillAsync();
        details = await container.InspectAsync();
        Assert.That((details.Status, details.Exit.Status, details.Exit.Signal), Is.EqualTo((Status.Stopped, 137u, 9u)));
    }

    [Test]
    public async Task Inspect_NoProcesses_IsTheCheapAnswer()
    {
        var one = await TestContainer.RunAsync(Supervisor);
        var two = await TestContainer.CreateAsync(Supervisor);
        var answer = await Supervisor.Control.InspectAsync(new InspectRequest { NoProcesses = true });
        Assert.That(answer.Containers.Select(c => (c.Id, c.Status)), Is.EquivalentTo(new[] { (one.Id, Status.Running), (two.Id, Status.Created) }));
        Assert.That(answer.Containers.Select(c => c.Processes.Count), Is.All.Zero);
    }

    [Test]
    public async Task Info_CountsAndPaths_AreRight()
    {
        var before = await Supervisor.Control.InfoAsync(new InfoRequest());
        await TestContainer.CreateAsync(Supervisor);
        await TestContainer.RunAsync(Supervisor);
        await (await TestContainer.RunAsync(Supervisor)).PauseAsync();
        await (await TestContainer.RunAsync(Supervisor)).KillAsync();
        var info = await Supervisor.Control.InfoAsync(new InfoRequest());
        Assert.That((info.Containers, info.Created, info.Running, info.Paused, info.Stopped), Is.EqualTo((4u, 1u, 1u, 1u, 1u)));
        Assert.That(info.Pid, Is.EqualTo((uint)Supervisor.ProcessId));
        Assert.That((info.Root, info.Socket, info.RuntimeRoot), Is.EqualTo((Supervisor.Root, Supervisor.Socket, Supervisor.RuntimeRoot)));
        Assert.That(info.Shim, Is.EqualTo(Path.Combine(TestRun.Binaries, "shim")));
        Assert.That(info.Runtime, Does.Contain("runc"));
        Assert.That(info.Version, Is.Not.Empty);
        Assert.That(info.NewestSequence, Is.GreaterThan(before.NewestSequence));
        Assert.That(info.OldestSequence, Is.LessThanOrEqualTo(info.NewestSequence));
        Assert.That(info.StartedAt.ToDateTime(), Is.LessThan(DateTime.UtcNow));
    }

    [Test]
    public async Task Health_Overall_Serves()
    {
        var answer = await new Health.HealthClient(Supervisor.Channel).CheckAsync(new HealthCheckRequest(), deadline: DateTime.UtcNow.AddSeconds(10));
        Assert.That(answer.Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
    }

    [Test]
    public async Task Reflection_ListsTheServices()
    {
        using var call = new ServerReflection.ServerReflectionClient(Supervisor.Channel).ServerReflectionInfo(deadline: DateTime.UtcNow.AddSeconds(10));
        await call.RequestStream.WriteAsync(new ServerReflectionRequest { ListServices = string.Empty });
        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None), Is.True);
        Assert.That(
            call.ResponseStream.Current.ListServicesResponse.Service.Select(service => service.Name),
            Is.SupersetOf(new[] { "containerd.v1.ExecutionService", "containerd.v1.SupervisorService", "grpc.health.v1.Health" }));
        await call.RequestStream.WriteAsync(new ServerReflectionRequest { FileContainingSymbol = "containerd.v1.ExecutionService" });
        Assert.That(await call.ResponseStream.MoveNext(CancellationToken.None), Is.True);
        Assert.That(call.ResponseStream.Current.FileDescriptorResponse.FileDescriptorProto, Is.Not.Empty);
        await call.RequestStream.CompleteAsync();
    }

    [Test]
    public async Task UnknownMethod_Unimplemented()
    {
        var method = new Method<InfoRequest, InfoResponse>(
            MethodType.Unary, "containerd.v1.ExecutionService", "NoSuchMethod",
            Marshallers.Create(message => Google.Protobuf.MessageExtensions.ToByteArray(message), InfoRequest.Parser.ParseFrom),
            Marshallers.Create(message => Google.Protobuf.MessageExtensions.ToByteArray(message), InfoResponse.Parser.ParseFrom));
        using var call = Supervisor.Channel.CreateCallInvoker().AsyncUnaryCall(
            method, null, new CallOptions(deadline: DateTime.UtcNow.AddSeconds(10)), new InfoRequest());
        Assert.That((await Refusal.OutcomeAsync(call)).StatusCode, Is.EqualTo(StatusCode.Unimplemented));
    }

    // A process that counts what comes on its stdin.
    private async Task<(uint Pid, string Stdin, FifoReader Stdout)> CountBytesAsync(TestContainer container)
    {
        var directory = Supervisor.NewDirectory();
        var stdin = Fifo.Create(Path.Combine(directory, "in"));
        var stdout = new FifoReader(Path.Combine(directory, "out"));
        var request = container.ExecRequest("wc", "-c");
        (request.Stdin, request.Stdout) = (stdin, stdout.Path);
        return (await container.ExecAsync(request), stdin, stdout);
    }
}
