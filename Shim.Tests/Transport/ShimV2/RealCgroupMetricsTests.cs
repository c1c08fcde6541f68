using NUnit.Framework;
using Shim.Cgroups;
using Shim.Tests.Support;
using Shim.Transport.ShimV2;
using V1 = Containerd.Cgroups.V1;

namespace Shim.Tests.Transport.ShimV2;

/// <summary>The metrics of a container that runs.</summary>
internal sealed class RealCgroupMetricsTests : SupervisorTests
{
    [Test]
    public async Task Of_RealContainer_LimitsAndUse()
    {
        var container = await TestContainer.RunAsync(Supervisor, bundle => bundle.MemoryLimit(64 << 20).PidsLimit(17).Script("while :; do :; done"));
        var cgroup = Cgroup.Of((int)container.Pid)!;
        Assume.That(cgroup.Version, Is.EqualTo(1), "this machine has cgroup v2, which the recorded files cover");
        V1.Metrics Metrics() => V1.Metrics.Parser.ParseFrom(CgroupMetrics.Of(cgroup).Value);
        await Poll.Until(() => Metrics().Cpu.Usage is { User: > 0, Total: > 50_000_000 }, Poll.Deadline, "the CPU is used");
        var metrics = Metrics();
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Cpu.Usage.User % 10_000_000, Is.Zero, "whole ticks");
            Assert.That(metrics.Cpu.Usage.PerCpu, Is.Not.Empty);
            Assert.That(metrics.Pids, Is.EqualTo(new V1.PidsStat { Current = 1, Limit = 17 }));
            Assert.That(metrics.Memory.Usage.Limit, Is.EqualTo(64ul << 20));
            Assert.That(metrics.Memory.HierarchicalMemoryLimit, Is.EqualTo(64ul << 20));
            Assert.That(metrics.Memory.Usage.Usage, Is.InRange(1, 64ul << 20));
            Assert.That(metrics.Memory.TotalPgFault, Is.GreaterThan(0));
            Assert.That(metrics.MemoryOomControl, Is.EqualTo(new V1.MemoryOomControl()));
        });
    }
}
