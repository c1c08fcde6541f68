using System.Text.RegularExpressions;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Ctr;

/// <summary>containerd goes away and comes back; containers do not notice, and nothing that happened meanwhile is lost.</summary>
public sealed class RestartTests
{
    private const string Waiting = "trap 'exit 7' TERM; while true; do sleep 0.05; done";

    [TestCase(false)]
    [TestCase(true)]
    public async Task Restart_ContainersAndExecsGoOn(bool killed)
    {
        await using var containerd = await TestContainerd.StartAsync();
        var id = containerd.NewId();
        var pid = await containerd.RunDetachedAsync(id, Waiting);
        (await containerd.CtrAsync(containerd.ExecArguments(id, "e1", ["--detach"], "sh", "-c", Waiting))).OutputOf();
        var shimPid = await containerd.ShimPidOfAsync(id);
        await (killed ? containerd.KillDaemonAsync() : containerd.StopDaemonAsync());
        Assert.That((HostProcess.Runs(pid), HostProcess.Runs(shimPid)), Is.EqualTo((true, true)));

        await containerd.StartDaemonAsync();
        Assert.That(await containerd.TaskAsync(id), Is.EqualTo((pid, "RUNNING")));
        Assert.That(await containerd.ShimPidOfAsync(id), Is.EqualTo(shimPid));
        var events = await containerd.ListenAsync();
        (await containerd.ExecAsync(id, "e2", "exit 4")).OutputOf(4);
        (await containerd.CtrAsync("task", "kill", "--exec-id", "e1", id)).OutputOf();
        await events.ExpectAsync(id, "exec-added e2", "exec-started e2", "exit e2 4", "exit e1 7");
        (await containerd.CtrAsync("task", "kill", id)).OutputOf();
        await events.ExpectAsync(id, "exec-added e2", "exec-started e2", "exit e2 4", "exit e1 7", "exit 7");
    }

    [Test]
    public async Task ExitWhileContainerdIsDead_TrueStatus_ToldOnce()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var id = containerd.NewId();
        var pid = await containerd.RunDetachedAsync(id, Waiting);
        var shimPid = await containerd.ShimPidOfAsync(id);
        await containerd.KillDaemonAsync();
        _ = Syscall.kill(pid, Signum.SIGTERM);
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of init");
        await containerd.StartDaemonAsync();
        Assert.That(await containerd.TaskAsync(id), Is.EqualTo((pid, "STOPPED")));
        Assert.That(await containerd.ShimPidOfAsync(id), Is.EqualTo(shimPid));
        await Poll.Until(() => Exits(containerd) > 0, Poll.Deadline, "the exit event");
        Assert.That(await containerd.DeleteTaskAsync(id), Is.EqualTo(7));
        await Poll.Until(() => containerd.Log.Contains("topic=/tasks/delete", StringComparison.Ordinal), Poll.Deadline, "the delete event");
        Assert.That(Exits(containerd), Is.EqualTo(1));
    }

    [Test]
    public async Task ContainerdStopped_TheShimAnswers_AndAllEventsComeLater_InOrder()
    {
        const int Execs = 50;
        await using var containerd = await TestContainerd.StartAsync();
        var events = await containerd.ListenAsync();
        var id = containerd.NewId();
        await containerd.RunDetachedAsync(id);
        await using var shim = await containerd.ShimOfAsync(id);
        containerd.Signal(Signum.SIGSTOP);
        try
        {
            for (var i = 0; i < Execs; i++)
            {
                // Each of these calls has half a minute, which is far less than containerd stands still.
                await shim.ExecAsync(id, $"e{i}", $"exit {i}");
                await shim.StartAsync(id, $"e{i}");
                Assert.That((await shim.WaitAsync(id, $"e{i}")).ExitStatus, Is.EqualTo((uint)i));
                await shim.DeleteAsync(id, $"e{i}");
            }
        }
        finally
        {
            containerd.Signal(Signum.SIGCONT);
        }

        await events.ExpectAsync(
            id,
            ["create", "start", .. Enumerable.Range(0, Execs).SelectMany(i => new[] { $"exec-added e{i}", $"exec-started e{i}", $"exit e{i} {i}" })]);
    }

    // containerd's log tells of each event that it was told.
    private static int Exits(TestContainerd containerd) => Regex.Count(containerd.Log, "event forwarded.*topic=/tasks/exit");
}
