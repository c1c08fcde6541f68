using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>Containers that are to outlive their shim: a new shim takes them over, and they do not notice.</summary>
public sealed class AdoptionTests : SupervisorTests
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(10);

    [Test]
    [Category("CgroupV2")]
    public async Task ShimKilled_TheContainerGoesOn_AndItsLaterStatusIsTrue([Values] bool restartBefore)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await RunAsync("trap 'exit 42' TERM; while :; do sleep 0.1; done");
        var exec = await container.ExecAsync("sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.1; done");
        if (restartBefore)
        {
            await Supervisor.RestartAsync(hard: true);
        }

        // A supervisor that came later is no ancestor of what the shim leaves behind: then only the kernel can tell.
        var known = !restartBefore || Machine.PidFdsTellStatus;
        var (before, after) = await LoseShimAsync(container);
        Assert.That(after, Is.Not.EqualTo(before));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));

        // Old and new processes, signals, statistics: all as if nothing had been.
        Assert.That((await container.ShellAsync("exit 5")).Status, Is.EqualTo(5u));
        await container.SignalAsync(exec, 10);
        Assert.That((await container.WaitAsync(exec)).Status, Is.EqualTo(known ? 7u : 255u));
        await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id });
        await container.SignalAsync(container.Pid, 15);
        var exit = await events.WaitForExitAsync(container.Id, container.Pid, s_soon);
        Assert.That((exit.Exit.Status, exit.Exit.Reason), Is.EqualTo(known ? (42u, ExitReason.Exited) : (255u, ExitReason.Unknown)));
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(3));
        await container.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        events.AssertOrder();
    }

    [Test]
    public async Task ShimKilled_ManyTimesInARow_TheContainerGoesOn()
    {
        var container = await RunAsync("sleep 1000000");
        for (var i = 0; i < 4; i++)
        {
            await LoseShimAsync(container);
            Assert.That((await container.ShellAsync($"exit {i + 1}")).Status, Is.EqualTo((uint)(i + 1)));
        }

        await container.DeleteAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task ShimKilled_WhileTheSupervisorIsDown_IsAdoptedAtItsStart()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await RunAsync("trap 'exit 9' TERM; while :; do sleep 0.1; done");
        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        await Supervisor.KillHardAsync();
        _ = Syscall.kill(shim, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs(shim), Poll.Deadline, "the end of the shim");
        await Supervisor.StartAgainAsync();
        await Poll.Until(async () => (await container.ShellAsync("true")).Status == 0, s_soon, "an exec in the adopted container");
        await container.SignalAsync(container.Pid, 15);
        Assert.That(
            (await events.WaitForExitAsync(container.Id, container.Pid, s_soon)).Exit.Status, Is.EqualTo(Machine.PidFdsTellStatus ? 9u : 255u));
        await container.DeleteAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task CreatedAndPausedContainers_KeepTheirState()
    {
        var created = await TestContainer.CreateAsync(Supervisor, b => b.Annotation("containerd.io/on-shim-loss", "adopt").Script("exit 3"));
        await LoseShimAsync(created);
        Assert.That(await created.StatusAsync(), Is.EqualTo(Status.Created));
        await created.StartAsync();
        Assert.That((await created.WaitAsync()).Status, Is.EqualTo(3u));
        await created.DeleteAsync();

        var paused = await RunAsync("sleep 1000000");
        await paused.PauseAsync();
        await LoseShimAsync(paused);
        Assert.That(await paused.StatusAsync(), Is.EqualTo(Status.Paused));
        await paused.ResumeAsync();
        Assert.That((await paused.ShellAsync("exit 4")).Status, Is.EqualTo(4u));
        await paused.DeleteAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task ProcessEndsBetweenTheShims_ItsTrueStatusIsReported()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await RunAsync("sleep 1000000");
        var exec = await container.ExecAsync("sh", "-c", "sleep 1.5; exit 21");
        var shim = (int)(await container.InspectAsync()).Shim.Pid;

        // The supervisor sleeps while the shim and then the process end.
        _ = Syscall.kill(Supervisor.ProcessId, Signum.SIGSTOP);
        try
        {
            _ = Syscall.kill(shim, Signum.SIGKILL);
            await Poll.Until(() => !HostProcess.Runs((int)exec), s_soon, "the end of the process");
        }
        finally
        {
            _ = Syscall.kill(Supervisor.ProcessId, Signum.SIGCONT);
        }

        Assert.That((await events.WaitForExitAsync(container.Id, exec, s_soon)).Exit.Status, Is.EqualTo(21u));
        Assert.That((await container.ShellAsync("exit 5")).Status, Is.EqualTo(5u));
        await container.DeleteAsync();
    }

    [Test]
    public async Task Log_GoesOnWithoutAGap_AndTheWriterNeverGetsSigpipe()
    {
        var log = Path.Combine(Supervisor.Root, "adopted.log");
        var container = await TestContainer.RunAsync(
            Supervisor,
            b => b.Annotation("containerd.io/on-shim-loss", "adopt").Script("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 100)) = 0 ] && sleep 0.05; done; exit 6"),
            streams: request => request.Stdout = $"log://{log}");
        await Poll.Until(() => File.Exists(log) && new FileInfo(log).Length > 5000, Poll.Deadline, "a log that grows");
        await LoseShimAsync(container);
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(6u));
        await container.DeleteAsync();
        var lines = File.ReadAllLines(log).Select(line => line.Split(' ', 4)[3]).ToList();

        // Records are written as they are read; only what the dead one had read and not written yet can be missing: less than one read.
        Assert.That(lines[^1], Is.EqualTo("3000"));
        Assert.That(lines, Has.Count.GreaterThan(2800));
        Assert.That(lines, Is.Ordered.Using<string>((a, b) => int.Parse(a, null).CompareTo(int.Parse(b, null))));
    }

    [Test]
    public async Task Delete_WhileItIsBeingAdopted_Deletes()
    {
        for (var i = 0; i < 5; i++)
        {
            var container = await RunAsync("sleep 1000000");
            _ = Syscall.kill((int)(await container.InspectAsync()).Shim.Pid, Signum.SIGKILL);
            await Task.Delay(i * 20);
            await container.DeleteAsync().WithinAsync(TimeSpan.FromSeconds(20), "the deletion");
        }

        await Supervisor.AssertNothingLeftAsync();
    }

    [Test]
    public async Task CommandLine_SaysWhatIsToBecomeOfIt()
    {
        var id = TestRun.NewName("cli");
        var run = await Cli.CliRun.RunAsync(Supervisor, "", "run", "-d", "--on-shim-loss", "adopt", "--rootfs", BusyboxRootfs.Path, id, "sleep", "1000000");
        run.OutputOf();
        var before = (await DetailsAsync()).Shim.Pid;
        _ = Syscall.kill((int)before, Signum.SIGKILL);
        await Poll.For(DetailsAsync, details => details.Shim.Pid != before && details.Shim.Trouble.Length == 0, s_soon, "a new shim");
        (await Cli.CliRun.RunAsync(Supervisor, "", "exec", id, "sh", "-c", "exit 6")).OutputOf(6);
        (await Cli.CliRun.RunAsync(Supervisor, "", "delete", "--force", id)).OutputOf();
        (await Cli.CliRun.RunAsync(Supervisor, "", "run", "-d", "--on-shim-loss", "pray", "--rootfs", BusyboxRootfs.Path, id)).ErrorOf(125);

        async Task<ContainerDetails> DetailsAsync() =>
            (await Supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { id } })).Containers.Single();
    }

    [Test]
    public async Task AnnotationWithAnotherWord_IsInvalid()
    {
        var bundle = Supervisor.NewBundle().Annotation("containerd.io/on-shim-loss", "pray").Write();
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "odd", BundlePath = bundle.Path }),
            Grpc.Core.StatusCode.InvalidArgument,
            ["on-shim-loss", "pray"]);
    }

    private Task<TestContainer> RunAsync(string script) =>
        TestContainer.RunAsync(Supervisor, b => b.Annotation("containerd.io/on-shim-loss", "adopt").Script(script));

    /// <summary>Kills the shim and waits for the next one.</summary>
    private static async Task<(uint Before, uint After)> LoseShimAsync(TestContainer container)
    {
        var before = (await container.InspectAsync()).Shim.Pid;
        _ = Syscall.kill((int)before, Signum.SIGKILL);
        var after = await Poll.For(
            async () => (await container.InspectAsync()).Shim, shim => shim.Pid != before && shim.Trouble.Length == 0, s_soon, "a new shim");
        return (before, after.Pid);
    }
}
