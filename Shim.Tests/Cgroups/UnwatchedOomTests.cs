using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Cgroups;

/// <summary>
/// OOM kills on cgroup v2 when the kernel has no inotify instance left to tell of them. The limit is the whole machine's, so this is
/// for the machine of scripts/test-vm.sh alone.
/// </summary>
[Category("VirtualMachine")]
public sealed class UnwatchedOomTests : SupervisorTests
{
    private const string Limit = "/proc/sys/fs/inotify/max_user_instances";
    private string? _before;

    [OneTimeSetUp]
    public async Task NoInotify()
    {
        Machine.Require(Machine.IsVirtual && !Machine.CgroupV1, "it changes a limit of the whole machine (scripts/test-vm.sh runs it)");
        _before = await File.ReadAllTextAsync(Limit);
        await File.WriteAllTextAsync(Limit, "0");
    }

    [OneTimeTearDown]
    public async Task InotifyAgain()
    {
        if (_before is not null)
        {
            await File.WriteAllTextAsync(Limit, _before);
        }
    }

    [Test]
    public async Task InitOutOfMemory_NobodyWatches_ReasonIsTrueAndItsEventComesFirst()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.MemoryLimit(16 << 20).Script("x=x; while :; do x=$x$x; done"));
        var exit = await container.WaitAsync();
        Assert.That(Supervisor.ShimLogs, Does.Contain("will only be noticed when a process ends"), "that it could not be watched");
        Assert.That((exit.Status, exit.Signal, exit.Reason), Is.EqualTo((137u, 9u, ExitReason.OomKilled)));
        var end = await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        var oom = events.Of(container.Id).Single(e => e.Type == EventType.Oom);
        Assert.That(oom.Sequence, Is.LessThan(end.Sequence));
        Assert.That(exit.Message, Does.Contain(container.Bundle.Cgroup), "the cgroup that ran out");
        events.AssertOrder();
    }
}
