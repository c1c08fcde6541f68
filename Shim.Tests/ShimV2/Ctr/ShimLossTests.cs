using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Ctr;

/// <summary>The shim is killed: containerd calls <c>delete</c>, which has nothing but the bundle to go by.</summary>
public sealed class ShimLossTests
{
    [Test]
    public async Task ShimKilled_TheContainerIsRemoved_AndItsExitIsTold()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var events = await containerd.ListenAsync();
        var id = containerd.NewId();
        var pid = await containerd.RunDetachedAsync(id, "sleep 1000000 & sleep 1000000");
        (await containerd.CtrAsync(containerd.ExecArguments(id, "e1", ["--detach"], "sleep", "1000000"))).OutputOf();
        _ = Syscall.kill(await containerd.ShimPidOfAsync(id), Signum.SIGKILL);
        await events.ExpectAsync(id, "create", "start", "exec-added e1", "exec-started e1", "exit 137", "delete 137");
        Assert.That(HostProcess.Runs(pid), Is.False);
        Assert.That(await containerd.TaskAsync(id), Is.Null);

        // The name can be used again.
        (await containerd.CtrAsync("container", "rm", id)).OutputOf();
        Assert.That((await containerd.RunAsync(id, "echo again")).OutputOf(), Is.EqualTo("again\n"));
    }

    [Test]
    public async Task ShimKilledAfterTheExit_TheTrueStatusIsInTheJournal()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var events = await containerd.ListenAsync();
        var id = containerd.NewId();
        await containerd.RunDetachedAsync(id, "exit 42");
        await events.ExpectAsync(id, "create", "start", "exit 42");
        _ = Syscall.kill(await containerd.ShimPidOfAsync(id), Signum.SIGKILL);

        // containerd itself tells what `delete` has printed.
        await events.ExpectAsync(id, "create", "start", "exit 42", "exit 42", "delete 42");
    }

    [Test]
    public async Task ShimKilledWhileContainerdIsDead_TheContainerIsRemovedAtItsStart()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var id = containerd.NewId();
        var pid = await containerd.RunDetachedAsync(id);
        var shim = await containerd.ShimPidOfAsync(id);
        await containerd.KillDaemonAsync();
        _ = Syscall.kill(shim, Signum.SIGKILL);
        await containerd.StartDaemonAsync();
        await Poll.Until(async () => await containerd.TaskAsync(id) is null, Poll.Deadline, "the task is gone");
        Assert.That(HostProcess.Runs(pid), Is.False);
    }
}
