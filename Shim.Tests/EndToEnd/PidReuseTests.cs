using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.EndToEnd;

/// <summary>
/// Pids that have been given to somebody else meanwhile, in a namespace that has so few of them that this happens all the time. No
/// signal reaches the new owner, and no exit of his is taken for that of the old one.
/// </summary>
public sealed class PidReuseTests
{
    private PidNamespace? _pids;
    private SupervisorFixture? _supervisor;

    private PidNamespace Pids => _pids!;

    private SupervisorFixture Supervisor => _supervisor!;

    [OneTimeSetUp]
    public async Task Start()
    {
        _pids = await PidNamespace.StartAsync();
        _supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Pids = _pids });
    }

    [TearDown]
    public async Task LeaveNothingBehind()
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == NUnit.Framework.Interfaces.TestStatus.Failed)
        {
            Supervisor.ShowLogs();
        }

        if (!Supervisor.IsRunning)
        {
            await Supervisor.StartAgainAsync();
        }

        await Supervisor.AssertNothingLeftAsync(await Supervisor.DeleteAllAsync());
        await Pids.RunAsync("kill -KILL $(jobs -p) 2>/dev/null; wait 2>/dev/null");
    }

    [OneTimeTearDown]
    public async Task End()
    {
        if (_supervisor is not null)
        {
            await _supervisor.DisposeAsync();
        }

        if (_pids is not null)
        {
            await _pids.DisposeAsync();
        }
    }

    [Test]
    [Category("CgroupV2")] // One of them where the limit is the whole machine's: all would take too long in an emulated one.
    public async Task EndedExec_PidIsAStrangersNow_NoSignalReachesHim()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sh", "-c", "exit 3");
        await container.WaitAsync(exec);
        await Pids.RecycleAsync((int)exec);

        await RefuseSignalsAsync();
        Assert.That((await container.ProcessAsync(exec)).ExitStatus, Is.EqualTo(3u), "what the API still knows by that pid");
        await container.DeleteProcessAsync(exec);

        await RefuseSignalsAsync();
        await Refusal.ExpectAsync(
            Supervisor.Containers.GetProcessAsync(new GetProcessRequest { ContainerId = container.Id, Pid = exec }), StatusCode.NotFound);
        await container.DeleteAsync();
        Assert.That(Pids.Runs((int)exec), Is.True, "after the deletion of the container");

        async Task RefuseSignalsAsync()
        {
            foreach (var signal in new uint[] { 9, 15 })
            {
                await Refusal.ExpectAsync(
                    Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = container.Id, Pid = exec, Signal = signal }),
                    StatusCode.NotFound,
                    [$"{exec}"]);
                await Refusal.ExpectAsync(
                    Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Pid = exec, Signal = signal }), StatusCode.NotFound);
            }

            Assert.That(Pids.CommandLine((int)exec), Does.StartWith("stranger"));
            Assert.That(Pids.Runs((int)exec), Is.True);
        }
    }

    [Test]
    public async Task FiftyExecsThatNobodyDeletes_EachHasOneExitWithItsOwnStatus()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var expected = new List<(uint Pid, uint Status)>();
        for (uint status = 100; status < 150; status++)
        {
            var pid = await container.ExecAsync("sh", "-c", $"exit {status}");
            expected.Add((pid, status));
            Assert.That((await container.WaitAsync(pid)).Status, Is.EqualTo(status));
        }

        // All pids of the fifty go round several times more: on strangers, and on processes of the container.
        await Pids.RunAsync("for i in {1..400}; do /bin/true & done; wait");
        Assert.That((await container.ShellAsync("i=0; while [ $i -lt 400 ]; do i=$((i + 1)); (exit 9) & done; wait; exit 77")).Status, Is.EqualTo(77u));
        await events.WaitForAsync(e => e.Type == EventType.Exited && e.Exit.Status == 77, Poll.Deadline);
        Assert.That(events.ExitsOf(container.Id).Select(e => (e.Pid, e.Exit.Status)).SkipLast(1), Is.EqualTo(expected));

        // Nobody deleted them, but where the pid is the name, a new exec of that name takes the place of the old one.
        var known = (await container.InspectAsync()).Processes.Where(p => p.Status == Status.Stopped).Select(p => (p.Pid, p.Exit.Status));
        Assert.That(known, Is.SubsetOf(expected));
        await container.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        events.AssertOrder();
    }

    [Test]
    public async Task EndedExec_PidIsAnOrphansNowWhichTheShimCollects_NoSecondExit()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var directory = Supervisor.NewDirectory();

        // In the namespace of the shim, so that the container's shell knows the pids that count, and its orphans are the shim's to collect.
        const string Script = """
            while [ ! -e /host/pid ]; do usleep 10000; done
            export pid=$(cat /host/pid)
            while [ ! -e /host/hit ]; do sh -c 'sh -c "[ \$\$ != $pid ] || : > /host/hit; exit 9" & exit 8'; done
            exec sleep 1000000
            """;
        var container = await TestContainer.RunAsync(Supervisor, b => b.HostPid().Bind(directory).Script(Script));
        var exec = await container.ExecAsync("sh", "-c", "exit 3");
        await container.WaitAsync(exec);
        await File.WriteAllTextAsync(Path.Combine(directory, "new"), $"{exec}\n");
        File.Move(Path.Combine(directory, "new"), Path.Combine(directory, "pid"));
        await Poll.Until(() => File.Exists(Path.Combine(directory, "hit")), TimeSpan.FromSeconds(60), $"an orphan with pid {exec}");
        await Poll.Until(() => !Pids.Runs((int)exec), Poll.Deadline, "the end of the orphan");

        // What ended after it is told after it: had there been a second exit, it would have come by now.
        var last = await container.ExecAsync("sh", "-c", "exit 4");
        await events.WaitForExitAsync(container.Id, last, Poll.Deadline);
        Assert.That(events.ExitsOf(container.Id).Select(e => (e.Pid, e.Exit.Status)), Is.EqualTo(new[] { (exec, 3u), (last, 4u) }));
        events.AssertOrder();
        await Supervisor.AssertNoZombiesAsync();
    }

    [Test]
    public async Task LostShim_PidIsAStrangersNow_HeIsNeitherTakenForTheShimNorKilled([Values] bool adopt)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Annotation("containerd.io/on-shim-loss", adopt ? "adopt" : "kill").Script("trap 'exit 9' TERM; while :; do sleep 0.1; done"));
        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        await Supervisor.KillHardAsync();
        await KillAsync(shim);
        await Pids.RecycleAsync(shim, Path.Combine(TestRun.Binaries, "shim"));
        await Supervisor.StartAgainAsync();

        if (adopt)
        {
            await Poll.Until(async () => (await container.ShellAsync("true")).Status == 0, Poll.Deadline, "an exec in the adopted container");
            Assert.That((await container.InspectAsync()).Shim.Pid, Is.Not.EqualTo((uint)shim));
            await container.SignalAsync(container.Pid, 15);
        }

        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline)).Exit;
        Assert.That((exit.Status, exit.Reason), Is.EqualTo(adopt ? (9u, ExitReason.Exited) : (137u, ExitReason.ShimLost)));
        Assert.That(Pids.Runs(shim), Is.True, "the stranger");
        await container.DeleteAsync();
        Assert.That(Pids.Runs(shim), Is.True, "the stranger after the deletion");
        events.AssertOrder();
    }

    [Test]
    public async Task LostShimAndInit_BothPidsAreStrangersNow_NeitherIsHarmed([Values] bool adopt)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Annotation("containerd.io/on-shim-loss", adopt ? "adopt" : "kill"));
        var (shim, init) = ((int)(await container.InspectAsync()).Shim.Pid, (int)container.Pid);
        await Supervisor.KillHardAsync();
        await KillAsync(shim);
        await KillAsync(init);
        await Pids.RecycleAsync(shim);
        await Pids.RecycleAsync(init);
        await Supervisor.StartAgainAsync();

        // Nobody who would tell us was there when it ended.
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline)).Exit;
        Assert.That(exit.Status, Is.EqualTo(255u));
        Assert.That(exit.Reason, Is.EqualTo(ExitReason.Unknown).Or.EqualTo(ExitReason.ShimLost));
        await Refusal.ExpectAsync(
            Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = container.Id, Pid = container.Pid, Signal = 9 }),
            adopt ? StatusCode.NotFound : StatusCode.Unavailable);
        await container.DeleteAsync();
        Assert.That((Pids.Runs(shim), Pids.Runs(init)), Is.EqualTo((true, true)));
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
        events.AssertOrder();
    }

    // Until its parent has collected it: only then is the pid free.
    private async Task KillAsync(int pid)
    {
        await Pids.RunAsync($"kill -KILL {pid}");
        await Poll.Until(async () => (await Pids.RunAsync($"kill -0 {pid} 2>/dev/null && echo there")).Length == 0, Poll.Deadline, $"the end of {pid}");
    }
}
