using System.Diagnostics;
using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>
/// The host goes down: everybody gets SIGTERM at once. A shim that is told to end ends its container first (SIGTERM, three seconds, SIGKILL),
/// removes it and writes everything down; the next supervisor tells of it.
/// </summary>
public sealed class ShutdownTests : SupervisorTests
{
    [Test]
    public async Task EverybodyGetsSigTerm_AllGoneWithinTenSecondsAndTheStatusesAreTrue()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var containers = new List<TestContainer>();
        for (var i = 0; i < 10; i++)
        {
            // The last one does not listen: the init of a pid namespace without a handler does not even get the signal.
            var script = i == 9 ? "while :; do sleep 0.1; done" : $"trap 'exit {40 + i}' TERM; while :; do sleep 0.1; done";
            containers.Add(await TestContainer.RunAsync(Supervisor, b => b.Script(script)));
        }

        var exec = await containers[0].ExecAsync("sleep", "1000");
        var shims = (await Supervisor.Control.InspectAsync(new InspectRequest { NoProcesses = true })).Containers.Select(c => (int)c.Shim.Pid).ToList();
        var watch = Stopwatch.StartNew();
        shims.ForEach(pid => _ = Syscall.kill(pid, Signum.SIGTERM));
        await Supervisor.StopGracefullyAsync();
        await Poll.Until(() => !shims.Exists(HostProcess.Runs), TimeSpan.FromSeconds(20), "the end of all shims");
        TestContext.Out.WriteLine($"all gone after {watch.Elapsed.TotalSeconds:0.0} s");
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)));
        Assert.That(containers.Where(container => HostProcess.Runs((int)container.Pid)), Is.Empty);
        Assert.That(HostProcess.Mentioning($"/{Supervisor.CgroupPrefix}-"), Is.Empty);

        await Supervisor.StartAgainAsync();
        foreach (var (container, i) in containers.Select((container, i) => (container, i)))
        {
            var exit = (await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline)).Exit;
            Assert.That((exit.Status, exit.Reason), Is.EqualTo(i == 9 ? (137u, ExitReason.Signaled) : ((uint)(40 + i), ExitReason.Exited)));
            await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
            Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(i == 0 ? 2 : 1));
        }

        Assert.That((await events.WaitForExitAsync(containers[0].Id, exec, Poll.Deadline)).Exit.Status, Is.EqualTo(137u));
        Assert.That((await Supervisor.Containers.ListContainersAsync(new ListContainersRequest())).Containers, Is.Empty);
        events.AssertOrder();
    }

    [Test]
    public async Task OnlyTheSupervisorGetsSigTerm_ContainersGoOn()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Supervisor.StopGracefullyAsync();
        Assert.That(HostProcess.Runs((int)container.Pid), Is.True);
        await Supervisor.StartAgainAsync();
        Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
    }

    [Test]
    public void Unit_AsInstalled_StopsTheSupervisorAlone()
    {
        var script = File.ReadAllText(Path.Combine(TestRun.Repository, "scripts", "install.sh"));
        Assert.That(script, Does.Contain("\nKillMode=process\n").And.Contain("\nDelegate=yes\n").And.Contain("\nTimeoutStopSec="));
    }
}
