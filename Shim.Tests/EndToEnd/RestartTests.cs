using Containerd;
using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using ShimContract = Containerd.Shim.V1.Shim;
using Status = Containerd.V1.Status;

namespace Shim.Tests.EndToEnd;

/// <summary>The supervisor stops or is killed and comes back on the same root; or a shim is killed. Nothing is lost, nothing is told twice.</summary>
public sealed class RestartTests : SupervisorTests
{
    [Test]
    public async Task Delete_AskedOfTheShimItself_TheSupervisorDoesTheRest()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var details = await Supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { container.Id }, NoProcesses = true });
        using (var channel = UnixChannel.Open(details.Containers[0].Shim.Socket))
        {
            await new ShimContract.ShimClient(channel).DeleteAsync(new Containerd.Shim.V1.DeleteRequest(), deadline: DateTime.UtcNow.AddSeconds(30));
        }

        await Poll.Until(() => !Directory.Exists(Path.Combine(Supervisor.Root, "c", container.Id)), Poll.Deadline, "the files are gone");
        await Poll.Until(() => !HostProcess.Runs((int)details.Containers[0].Shim.Pid), Poll.Deadline, "the shim is gone");
        await (await TestContainer.RunAsync(Supervisor, id: container.Id)).DeleteAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Restart_ContainersOfEveryState_AreFoundAgain([Values] bool hard)
    {
        var created = await TestContainer.CreateAsync(Supervisor, b => b.Owner("ann"));
        var running = await TestContainer.RunAsync(Supervisor);
        var paused = await TestContainer.RunAsync(Supervisor);
        await paused.PauseAsync();
        var stopped = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 17"));
        await stopped.WaitAsync();
        var exec = await running.ExecAsync("sleep", "1000");
        var ended = await running.ExecAsync("sh", "-c", "exit 18");
        await running.WaitAsync(ended);
        var shim = (await running.InspectAsync()).Shim;

        await Supervisor.RestartAsync(hard);

        Assert.That(await created.StatusAsync(), Is.EqualTo(Status.Created));
        Assert.That(await running.StatusAsync(), Is.EqualTo(Status.Running));
        Assert.That(await paused.StatusAsync(), Is.EqualTo(Status.Paused));
        Assert.That(await stopped.StatusAsync(), Is.EqualTo(Status.Stopped));
        Assert.That((await stopped.WaitAsync()).Status, Is.EqualTo(17u));
        Assert.That((await running.ProcessAsync(ended)).ExitStatus, Is.EqualTo(18u));
        Assert.That((await running.InspectAsync()).Shim, Is.EqualTo(shim), "the same shim");
        var owned = await Supervisor.Containers.ListContainersAsync(new ListContainersRequest { Owner = { "ann" } });
        Assert.That(owned.Containers.Select(c => c.Id), Is.EqualTo(new[] { created.Id }));

        // And everything works as before.
        await created.StartAsync();
        await paused.ResumeAsync();
        Assert.That((await paused.ShellAsync("exit 19")).Status, Is.EqualTo(19u));
        await running.SignalAsync(exec, 15);
        Assert.That((await running.WaitAsync(exec)).Status, Is.EqualTo(143u));
        await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = running.Id, BundlePath = Supervisor.NewBundle().Write().Path }),
            StatusCode.AlreadyExists);
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Exits_WhileTheSupervisorIsDown_ArriveAfterwardsOnceAndTrue([Values] bool hard)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("while [ ! -e /host/end ]; do usleep 10000; done; exit 42"));
        var exec = await container.ExecAsync("sh", "-c", "while [ ! -e /host/exec ]; do usleep 10000; done; exit 43");
        var killed = await TestContainer.RunAsync(Supervisor);
        await events.WaitForAsync(e => e.ContainerId == killed.Id && e.Type == EventType.Started, Poll.Deadline);

        if (hard)
        {
            await Supervisor.KillHardAsync();
        }
        else
        {
            await Supervisor.StopGracefullyAsync();
        }

        await File.WriteAllTextAsync(Path.Combine(directory, "exec"), string.Empty);
        await Poll.Until(() => !HostProcess.Runs((int)exec), Poll.Deadline, "the exec ends while nobody looks");
        await File.WriteAllTextAsync(Path.Combine(directory, "end"), string.Empty);
        _ = Syscall.kill((int)killed.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)container.Pid) && !HostProcess.Runs((int)killed.Pid), Poll.Deadline, "both end while nobody looks");
        await Supervisor.StartAgainAsync();

        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(42u));
        Assert.That((await container.WaitAsync(exec)).Status, Is.EqualTo(43u));
        var exit = await killed.WaitAsync();
        Assert.That((exit.Status, exit.Signal), Is.EqualTo((137u, 9u)));
        await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        await events.WaitForExitAsync(killed.Id, killed.Pid, Poll.Deadline);
        Assert.That(events.ExitsOf(container.Id).Select(e => (e.Pid, e.Exit.Status)), Is.EqualTo(new[] { (exec, 43u), (container.Pid, 42u) }));
        Assert.That(events.ExitsOf(killed.Id), Has.Count.EqualTo(1));

        await container.DeleteAsync();
        await killed.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == killed.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        await AssertReplayEqualsAsync(events);
    }

    [Test]
    public async Task Restarts_InTheMiddleOfWork_EventsStayWithoutGapOrDouble()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var expected = new List<(string Id, uint Status)>();
        for (var round = 0; round < 6; round++)
        {
            var status = (uint)(100 + round);
            var container = await TestContainer.RunAsync(Supervisor, b => b.Script($"usleep {20_000 * round}; exit {status}"));
            await Supervisor.RestartAsync(hard: round % 2 == 0);
            Assert.That((await container.WaitAsync()).Status, Is.EqualTo(status));
            await container.DeleteAsync();
            expected.Add((container.Id, status));
        }

        await events.WaitForAsync(e => e.ContainerId == expected[^1].Id && e.Type == EventType.Deleted, Poll.Deadline);
        Assert.That(
            events.Events.Where(e => e.Type == EventType.Exited && e.ContainerId[0] == 'c').Select(e => (e.ContainerId, e.Exit.Status)).TakeLast(expected.Count),
            Is.EqualTo(expected));
        await AssertReplayEqualsAsync(events);
    }

    [Test]
    public async Task Delete_AfterARestart_LeavesNothing()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var shim = (await container.InspectAsync()).Shim;
        await Supervisor.RestartAsync(hard: true);
        await container.DeleteAsync();
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim ends");
        await Supervisor.AssertNothingLeftAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task ShimKilled_IsNoticedContainerDiesOneExitEventIdReusable([Values] bool restartBefore)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script("sleep 1234 & wait"));
        var bystander = await TestContainer.RunAsync(Supervisor);
        if (restartBefore)
        {
            await Supervisor.RestartAsync();
        }

        var shim = (await container.InspectAsync()).Shim;
        _ = Syscall.kill((int)shim.Pid, Signum.SIGKILL);

        var exit = await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(10));
        Assert.That(exit.Exit.Reason, Is.EqualTo(ExitReason.ShimLost));
        Assert.That(exit.Exit.Status, Is.Not.Zero);
        await Poll.Until(
            () => !HostProcess.Mentioning($"/{container.Bundle.Cgroup}").Any(p => p.State != 'Z'), TimeSpan.FromSeconds(10), "the container's processes die");
        Assert.That((await container.WaitAsync()).Reason, Is.EqualTo(ExitReason.ShimLost));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
        Assert.That(await bystander.StatusAsync(), Is.EqualTo(Status.Running));

        await container.DeleteAsync();
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
        var again = await TestContainer.RunAsync(Supervisor, id: container.Id);
        Assert.That((await again.ShellAsync("exit 5")).Status, Is.EqualTo(5u));
        await again.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == again.Id && e.Type == EventType.Deleted && e.Pid == again.Pid, Poll.Deadline);
        events.AssertOrder();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task ShimKilled_WhileTheSupervisorIsDown_IsNoticedAtItsStart()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var shim = (await container.InspectAsync()).Shim;
        await Supervisor.KillHardAsync();
        _ = Syscall.kill((int)shim.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim is dead");
        await Supervisor.StartAgainAsync();
        Assert.That((await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(10))).Exit.Reason, Is.EqualTo(ExitReason.ShimLost));
        await Poll.Until(() => !HostProcess.Runs((int)container.Pid), TimeSpan.FromSeconds(10), "the container dies");
        await container.DeleteAsync();
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
    }

    [Test]
    public async Task ShimKilled_AfterTheExit_NoSecondExitAndTheTrueStatusStays()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 44"));
        await container.WaitAsync();
        await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        _ = Syscall.kill((int)(await container.InspectAsync()).Shim.Pid, Signum.SIGKILL);
        await container.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        Assert.That(events.ExitsOf(container.Id).Select(e => e.Exit.Status), Is.EqualTo(new[] { 44u }));
        events.AssertOrder();
    }

    [Test]
    public async Task ShimStopped_OthersAndTheStartAnswer()
    {
        var mute = await TestContainer.RunAsync(Supervisor);
        var other = await TestContainer.RunAsync(Supervisor);
        var shim = (int)(await mute.InspectAsync()).Shim.Pid;
        _ = Syscall.kill(shim, Signum.SIGSTOP);
        try
        {
            await Supervisor.RestartAsync().WithinAsync(TimeSpan.FromSeconds(10), "a restart beside a mute shim");
            Assert.That((await other.ShellAsync("exit 3").WithinAsync(TimeSpan.FromSeconds(5), "an exec beside a mute shim")).Status, Is.EqualTo(3u));
            var list = await Supervisor.Containers.ListContainersAsync(new ListContainersRequest()).ResponseAsync
                .WithinAsync(TimeSpan.FromSeconds(5), "a list with a mute shim");
            Assert.That(list.Containers.Select(c => (c.Id, c.Status)), Is.EquivalentTo(new[] { (mute.Id, Status.Running), (other.Id, Status.Running) }));
        }
        finally
        {
            _ = Syscall.kill(shim, Signum.SIGCONT);
        }

        Assert.That((await mute.ShellAsync("exit 4")).Status, Is.EqualTo(4u));
    }

    [Test]
    public async Task Start_LockHeldForAMomentByAChildOfTheDeadOne_Waits()
    {
        Machine.RequireProgram("flock");
        var path = Path.Combine(Supervisor.Root, "supervisor.lock");
        await Supervisor.KillHardAsync();
        using var holder = System.Diagnostics.Process.Start("flock", [path, "sleep", "0.7"]);
        await Poll.Until(() => HostProcess.Children(holder.Id).Count == 1, Poll.Deadline, "the lock is held");
        await Supervisor.StartAgainAsync();
        Assert.That(holder.WaitForExit(0), Is.True, "it did not start while the lock was held");
    }

    [Test]
    public async Task SecondSupervisor_SameRoot_FailsAtOnce()
    {
        var start = new System.Diagnostics.ProcessStartInfo(Path.Combine(TestRun.Binaries, "supervisor"), ["serve", "--root", Supervisor.Root])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using var second = System.Diagnostics.Process.Start(start)!;
        await second.WaitForExitAsync().WithinAsync(TimeSpan.FromSeconds(10), "the end of the second supervisor");
        Assert.That(second.ExitCode, Is.Not.Zero);
        Assert.That(await second.StandardError.ReadToEndAsync(), Does.Contain(Supervisor.Root));
        Assert.That(await second.StandardOutput.ReadToEndAsync(), Is.Empty);
        Assert.That((await Supervisor.Control.InfoAsync(new InfoRequest())).Pid, Is.EqualTo((uint)Supervisor.ProcessId));
    }

    // Whoever subscribes now from the beginning is told exactly what the recorder saw across all restarts.
    private async Task AssertReplayEqualsAsync(EventRecorder events)
    {
        events.AssertOrder();
        await using var replay = EventRecorder.After(Supervisor, 0);
        var last = events.Events[^1].Sequence;
        await replay.WaitForAsync(e => e.Sequence == last, Poll.Deadline);
        Assert.That(replay.Events.Where(e => e.Sequence >= events.Events[0].Sequence).Take(events.Events.Count), Is.EqualTo(events.Events));
    }
}
