using System.Globalization;
using Containerd.Cgroups.V2;
using Shim.Cgroups;

namespace Shim.Transport.ShimV2;

/// <summary>Fills the message for cgroup v2: all parts but memory_events are always there, "max" is 2^64-1.</summary>
internal static class CgroupMetricsV2
{
    internal static Metrics Of(Cgroup cgroup)
    {
        var metrics = new Metrics
        {
            Pids = new PidsStat { Current = Number(cgroup, "pids.current"), Limit = Number(cgroup, "pids.max") },
            Cpu = Cpu(cgroup),
            Memory = Memory(cgroup),
            MemoryEvents = MemoryEvents(cgroup),
            Io = Io(cgroup),
            Rdma = new RdmaStat(),
        };
        metrics.Rdma.Current.AddRange(Rdma(cgroup, "rdma.current"));
        metrics.Rdma.Limit.AddRange(Rdma(cgroup, "rdma.max"));
        metrics.Hugetlb.AddRange(cgroup.HugePageSizes().Select(size => HugePages(cgroup, size)).OfType<HugeTlbStat>());
        return metrics;
    }

    private static CPUStat Cpu(Cgroup cgroup)
    {
        var stat = CgroupFile.Values(cgroup.Read("cpu", "cpu.stat"));
        return new CPUStat
        {
            UsageUsec = stat.GetValueOrDefault("usage_usec"),
            UserUsec = stat.GetValueOrDefault("user_usec"),
            SystemUsec = stat.GetValueOrDefault("system_usec"),
            NrPeriods = stat.GetValueOrDefault("nr_periods"),
            NrThrottled = stat.GetValueOrDefault("nr_throttled"),
            ThrottledUsec = stat.GetValueOrDefault("throttled_usec"),
            NrBursts = stat.GetValueOrDefault("nr_bursts"),
            BurstUsec = stat.GetValueOrDefault("burst_usec"),
            Psi = Pressure(cgroup, "cpu.pressure"),
        };
    }

    private static MemoryStat Memory(Cgroup cgroup)
    {
        var stat = CgroupFile.Values(cgroup.Read("memory", "memory.stat"));
        return new MemoryStat
        {
            Anon = stat.GetValueOrDefault("anon"),
            File = stat.GetValueOrDefault("file"),
            KernelStack = stat.GetValueOrDefault("kernel_stack"),
            Slab = stat.GetValueOrDefault("slab"),
            Sock = stat.GetValueOrDefault("sock"),
            Shmem = stat.GetValueOrDefault("shmem"),
            FileMapped = stat.GetValueOrDefault("file_mapped"),
            FileDirty = stat.GetValueOrDefault("file_dirty"),
            FileWriteback = stat.GetValueOrDefault("file_writeback"),
            AnonThp = stat.GetValueOrDefault("anon_thp"),
            InactiveAnon = stat.GetValueOrDefault("inactive_anon"),
            ActiveAnon = stat.GetValueOrDefault("active_anon"),
            InactiveFile = stat.GetValueOrDefault("inactive_file"),
            ActiveFile = stat.GetValueOrDefault("active_file"),
            Unevictable = stat.GetValueOrDefault("unevictable"),
            SlabReclaimable = stat.GetValueOrDefault("slab_reclaimable"),
            SlabUnreclaimable = stat.GetValueOrDefault("slab_unreclaimable"),
            Pgfault = stat.GetValueOrDefault("pgfault"),
            Pgmajfault = stat.GetValueOrDefault("pgmajfault"),
            WorkingsetRefault = stat.GetValueOrDefault("workingset_refault"),
            WorkingsetActivate = stat.GetValueOrDefault("workingset_activate"),
            WorkingsetNodereclaim = stat.GetValueOrDefault("workingset_nodereclaim"),
            WorkingsetRefaultAnon = stat.GetValueOrDefault("workingset_refault_anon"),
            WorkingsetRefaultFile = stat.GetValueOrDefault("workingset_refault_file"),
            WorkingsetActivateAnon = stat.GetValueOrDefault("workingset_activate_anon"),
            WorkingsetActivateFile = stat.GetValueOrDefault("workingset_activate_file"),
            Pgrefill = stat.GetValueOrDefault("pgrefill"),
            Pgscan = stat.GetValueOrDefault("pgscan"),
            Pgsteal = stat.GetValueOrDefault("pgsteal"),
            Pgactivate = stat.GetValueOrDefault("pgactivate"),
            Pgdeactivate = stat.GetValueOrDefault("pgdeactivate"),
            Pglazyfree = stat.GetValueOrDefault("pglazyfree"),
            Pglazyfreed = stat.GetValueOrDefault("pglazyfreed"),
            ThpFaultAlloc = stat.GetValueOrDefault("thp_fault_alloc"),
            ThpCollapseAlloc = stat.GetValueOrDefault("thp_collapse_alloc"),
            Usage = Number(cgroup, "memory.current"),
            UsageLimit = Number(cgroup, "memory.max"),
            MaxUsage = Number(cgroup, "memory.peak"),
            SwapUsage = Number(cgroup, "memory.swap.current"),
            SwapLimit = Number(cgroup, "memory.swap.max"),
            SwapMaxUsage = Number(cgroup, "memory.swap.peak"),
            Psi = Pressure(cgroup, "memory.pressure"),
        };
    }

    private static MemoryEvents? MemoryEvents(Cgroup cgroup)
    {
        var events = CgroupFile.Values(cgroup.Read("memory", "memory.events"));
        return events.Count == 0 ? null : new MemoryEvents
        {
            Low = events.GetValueOrDefault("low"),
            High = events.GetValueOrDefault("high"),
            Max = events.GetValueOrDefault("max"),
            Oom = events.GetValueOrDefault("oom"),
            OomKill = events.GetValueOrDefault("oom_kill"),
            OomGroupKill = events.GetValueOrDefault("oom_group_kill"),
        };
    }

    private static IOStat Io(Cgroup cgroup)
    {
        var stat = new IOStat { Psi = Pressure(cgroup, "io.pressure") };
        foreach (var line in (cgroup.Read("io", "io.stat") ?? "").Split('\n'))
        {
            // A device without traffic stands alone on its line.
            var fields = line.Split([' ', ':'], StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > 2
                && ulong.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major)
                && ulong.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out var minor))
            {
                stat.Usage.Add(new IOEntry
                {
                    Major = major,
                    Minor = minor,
                    Rbytes = Field(fields, "rbytes="),
                    Wbytes = Field(fields, "wbytes="),
                    Rios = Field(fields, "rios="),
                    Wios = Field(fields, "wios="),
                });
            }
        }

        return stat;
    }

    private static HugeTlbStat? HugePages(Cgroup cgroup, string size) => cgroup.Read("hugetlb", $"hugetlb.{size}.current") is { } current
        ? new HugeTlbStat
        {
            Pagesize = size,
            Current = CgroupFile.NumberIn(current, ulong.MaxValue),
            Max = Number(cgroup, $"hugetlb.{size}.max"),
            Failcnt = CgroupFile.Value(cgroup.Read("hugetlb", $"hugetlb.{size}.events"), "max"),
        }
        : null;

    private static IEnumerable<RdmaEntry> Rdma(Cgroup cgroup, string name) => RdmaDevice.Parse(cgroup.Read("rdma", name))
        .Select(device => new RdmaEntry { Device = device.Name, HcaHandles = device.Handles, HcaObjects = device.Objects });

    /// <summary>From lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; null where the kernel does not measure.</summary>
    private static PSIStats? Pressure(Cgroup cgroup, string name)
    {
        if (cgroup.Read("", name) is not { } text)
        {
            return null;
        }

        var stats = new PSIStats();
        foreach (var line in text.Split('\n'))
        {
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            switch (fields.FirstOrDefault())
            {
                case "some":
                    stats.Some = PressureOf(fields);
                    break;
                case "full":
                    stats.Full = PressureOf(fields);
                    break;
            }
        }

        return stats;
    }

    private static PSIData PressureOf(string[] fields) => new()
    {
        Avg10 = Share(fields, "avg10="),
        Avg60 = Share(fields, "avg60="),
        Avg300 = Share(fields, "avg300="),
        Total = Field(fields, "total="),
    };

    private static ulong Field(string[] fields, string key) =>
        ulong.TryParse(After(fields, key), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0;

    private static double Share(string[] fields, string key) =>
        double.TryParse(After(fields, key), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) ? value : 0;

    private static string? After(string[] fields, string key) =>
        fields.FirstOrDefault(field => field.StartsWith(key, StringComparison.Ordinal))?[key.Length..];

    private static ulong Number(Cgroup cgroup, string name) => CgroupFile.NumberIn(cgroup.Read("", name), ulong.MaxValue);
}
