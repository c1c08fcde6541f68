using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Api;

/// <summary>Why a process is no longer there, for execs as for init, and with whatever help the kernel does not give.</summary>
public sealed class ExitReasonTests : SupervisorTests
{
    [Test]
    public async Task Exec_EveryWayToEnd_HasItsReasonTimeAndMeasures()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var before = DateTime.UtcNow;
        var own = await container.ShellAsync("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; exit 9");
        Assert.That((own.Status, own.Signal, own.Reason, own.CoreDumped), Is.EqualTo((9u, 0u, ExitReason.Exited, false)));
        Assert.That(own.UserCpuUs + own.SystemCpuUs, Is.Positive);
        Assert.That(own.MaxRssKib, Is.Positive);
        Assert.That(own.Time.ToDateTime(), Is.InRange(before, DateTime.UtcNow));

        var killed = await container.ShellAsync("kill -TERM $$");
        Assert.That((killed.Status, killed.Signal, killed.Reason, killed.CoreDumped), Is.EqualTo((143u, 15u, ExitReason.Signaled, false)));
        Assert.That(killed.MaxRssKib, Is.Positive);

        var crashed = await container.ShellAsync("ulimit -c 0; kill -SEGV $$");
        Assert.That((crashed.Status, crashed.Signal, crashed.Reason, crashed.CoreDumped), Is.EqualTo((139u, 11u, ExitReason.Signaled, false)));
    }

    [Test]
    public async Task Exec_OutOfMemory_ReasonCgroupAndEventBefore()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.MemoryLimit(16 << 20));
        var pid = await container.ExecAsync("sh", "-c", "x=x; while :; do x=$x$x; done");
        var exit = await container.WaitAsync(pid);
        Assert.That((exit.Status, exit.Signal, exit.Reason), Is.EqualTo((137u, 9u, ExitReason.OomKilled)));
        Assert.That(exit.Message, Does.Contain(container.Bundle.Cgroup));
        var end = await events.WaitForExitAsync(container.Id, pid, Poll.Deadline);
        Assert.That(events.Of(container.Id).First(e => e.Type == EventType.Oom).Sequence, Is.LessThan(end.Sequence));
    }

    [Test]
    public async Task OutOfMemory_NothingIsWatched_TheCountsAreReadAtTheExit()
    {
        // Without a limit in its config.json nobody watches; the limit comes from behind our back.
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("while [ ! -e /host/go ]; do usleep 10000; done; x=x; while :; do x=$x$x; done"));
        var limit = container.Bundle.CgroupFile("memory", "memory.limit_in_bytes", "memory.max");
        await File.WriteAllTextAsync(limit, $"{16 << 20}");
        await File.WriteAllTextAsync(Path.Combine(directory, "go"), "");
        var exit = await container.WaitAsync();
        Assert.That((exit.Status, exit.Reason), Is.EqualTo((137u, ExitReason.OomKilled)));
        var end = await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        Assert.That(events.Of(container.Id).Single(e => e.Type == EventType.Oom).Sequence, Is.LessThan(end.Sequence));
    }
}
