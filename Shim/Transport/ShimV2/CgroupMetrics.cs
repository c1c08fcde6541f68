using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Cgroups;

namespace Shim.Transport.ShimV2;

/// <summary>The use of a container as containerd's clients expect it: the kernel's numbers under the names of containerd's cgroups library.</summary>
internal static class CgroupMetrics
{
    /// <summary>What the answer says it is on cgroup v1. containerd's type urls have no host before the name, so Any.Pack will not do.</summary>
    internal const string TypeUrlV1 = "io.containerd.cgroups.v1.Metrics";

    /// <summary>What the answer says it is on cgroup v2.</summary>
    internal const string TypeUrlV2 = "io.containerd.cgroups.v2.Metrics";

    /// <summary>All that the cgroup tells, packed. What it does not tell is left out. Throws Precondition when the cgroup is gone.</summary>
    internal static Any Of(Cgroup cgroup)
    {
        var (url, metrics) = cgroup is CgroupV1 v1
            ? (TypeUrlV1, (IMessage)CgroupMetricsV1.Of(v1))
            : (TypeUrlV2, CgroupMetricsV2.Of(cgroup));
        cgroup.EnsureThere();
        return new Any { TypeUrl = url, Value = metrics.ToByteString() };
    }
}
