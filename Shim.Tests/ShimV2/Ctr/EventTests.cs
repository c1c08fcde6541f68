using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Ctr;

/// <summary>What containerd's subscribers are told.</summary>
public sealed class EventTests
{
    [Test]
    public async Task LifeOfAContainer_InOrder_WithPidsAndStatuses()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var events = await containerd.ListenAsync();
        var id = containerd.NewId();
        var pid = await containerd.RunDetachedAsync(id, "trap 'exit 7' TERM; while true; do sleep 0.05; done");
        (await containerd.ExecAsync(id, "e1", "exit 5")).OutputOf(5);
        (await containerd.CtrAsync("task", "pause", id)).OutputOf();
        (await containerd.CtrAsync("task", "resume", id)).OutputOf();
        (await containerd.CtrAsync("task", "kill", id)).OutputOf();
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of init");
        Assert.That(await containerd.DeleteTaskAsync(id), Is.EqualTo(7));
        await events.ExpectAsync(
            id, "create", "start", "exec-added e1", "exec-started e1", "exit e1 5", "paused", "resumed", "exit 7", "delete 7");
        var all = events.All.Where(seen => seen.Container == id).ToList();
        Assert.That(all.Where(seen => seen is { Exec: "", Pid: > 0 }).Select(seen => seen.Pid), Is.All.EqualTo((uint)pid));
        Assert.That(all.Where(seen => seen is { Exec: "e1", Pid: > 0 }).Select(seen => seen.Pid).Distinct().Count(), Is.EqualTo(1));
    }

    [Test]
    public async Task OutOfMemory_IsTold_BeforeTheExit()
    {
        await using var containerd = await TestContainerd.StartAsync();
        var events = await containerd.ListenAsync();
        var id = containerd.NewId();
        (await containerd.CtrAsync(containerd.RunArguments(
            id, ["--detach", "--null-io", "--memory-limit", "16777216"], "sh", "-c", "tail /dev/zero; exit 1"))).OutputOf();
        await Poll.Until(() => events.Of(id).Any(brief => brief.StartsWith("exit", StringComparison.Ordinal)), Poll.Deadline, "the exit");
        var seen = events.Of(id);
        Assert.That(seen, Does.Contain("oom"));
        Assert.That(seen.ToList().IndexOf("oom"), Is.LessThan(seen.ToList().FindIndex(brief => brief.StartsWith("exit", StringComparison.Ordinal))));
    }
}
