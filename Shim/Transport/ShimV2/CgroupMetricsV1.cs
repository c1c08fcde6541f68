using System.Globalization;
using Containerd.Cgroups.V1;
using Shim.Cgroups;

namespace Shim.Transport.ShimV2;

/// <summary>Fills the message for cgroup v1: a controller that is not there leaves its part out, "max" is 0.</summary>
internal static class CgroupMetricsV1
{
    internal static Metrics Of(CgroupV1 cgroup)
    {
        var metrics = new Metrics
        {
            Pids = Pids(cgroup),
            Cpu = Cpu(cgroup),
            Memory = Memory(cgroup),
            MemoryOomControl = OomControl(cgroup),
            Blkio = BlockIo(cgroup),
            Rdma = Rdma(cgroup),
        };
        metrics.Hugetlb.AddRange(cgroup.HugePageSizes().Select(size => HugePages(cgroup, size)).OfType<HugetlbStat>());
        return metrics;
    }

    private static PidsStat? Pids(CgroupV1 cgroup) => cgroup.Read("pids", "pids.current") is { } current
        ? new PidsStat { Current = CgroupFile.NumberIn(current, 0), Limit = Number(cgroup, "pids", "pids.max") }
        : null;

    // This part is always there, as clients know it.
    private static CPUStat Cpu(CgroupV1 cgroup)
    {
        var (user, system) = cgroup.CpuModes();
        var bandwidth = CgroupFile.Values(cgroup.Read("cpu", "cpu.stat"));
        var usage = new CPUUsage { Total = Number(cgroup, "cpuacct", "cpuacct.usage"), User = user, Kernel = system };
        foreach (var field in (cgroup.Read("cpuacct", "cpuacct.usage_percpu") ?? "").Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries))
        {
            usage.PerCpu.Add(CgroupFile.NumberIn(field, 0));
        }

        return new CPUStat
        {
            Usage = usage,
            Throttling = new Throttle
            {
                Periods = bandwidth.GetValueOrDefault("nr_periods"),
                ThrottledPeriods = bandwidth.GetValueOrDefault("nr_throttled"),
                ThrottledTime = bandwidth.GetValueOrDefault("throttled_time"),
            },
        };
    }

    private static MemoryStat? Memory(CgroupV1 cgroup)
    {
        if (cgroup.Read("memory", "memory.stat") is not { } text)
        {
            return null;
        }

        var stat = CgroupFile.Values(text);
        return new MemoryStat
        {
            Cache = stat.GetValueOrDefault("cache"),
            Rss = stat.GetValueOrDefault("rss"),
            RssHuge = stat.GetValueOrDefault("rss_huge"),
            MappedFile = stat.GetValueOrDefault("mapped_file"),
            Dirty = stat.GetValueOrDefault("dirty"),
            Writeback = stat.GetValueOrDefault("writeback"),
            PgPgIn = stat.GetValueOrDefault("pgpgin"),
            PgPgOut = stat.GetValueOrDefault("pgpgout"),
            PgFault = stat.GetValueOrDefault("pgfault"),
            PgMajFault = stat.GetValueOrDefault("pgmajfault"),
            InactiveAnon = stat.GetValueOrDefault("inactive_anon"),
            ActiveAnon = stat.GetValueOrDefault("active_anon"),
            InactiveFile = stat.GetValueOrDefault("inactive_file"),
            ActiveFile = stat.GetValueOrDefault("active_file"),
            Unevictable = stat.GetValueOrDefault("unevictable"),
            HierarchicalMemoryLimit = stat.GetValueOrDefault("hierarchical_memory_limit"),
            HierarchicalSwapLimit = stat.GetValueOrDefault("hierarchical_memsw_limit"),
            TotalCache = stat.GetValueOrDefault("total_cache"),
            TotalRss = stat.GetValueOrDefault("total_rss"),
            TotalRssHuge = stat.GetValueOrDefault("total_rss_huge"),
            TotalMappedFile = stat.GetValueOrDefault("total_mapped_file"),
            TotalDirty = stat.GetValueOrDefault("total_dirty"),
            TotalWriteback = stat.GetValueOrDefault("total_writeback"),
            TotalPgPgIn = stat.GetValueOrDefault("total_pgpgin"),
            TotalPgPgOut = stat.GetValueOrDefault("total_pgpgout"),
            TotalPgFault = stat.GetValueOrDefault("total_pgfault"),
            TotalPgMajFault = stat.GetValueOrDefault("total_pgmajfault"),
            TotalInactiveAnon = stat.GetValueOrDefault("total_inactive_anon"),
            TotalActiveAnon = stat.GetValueOrDefault("total_active_anon"),
            TotalInactiveFile = stat.GetValueOrDefault("total_inactive_file"),
            TotalActiveFile = stat.GetValueOrDefault("total_active_file"),
            TotalUnevictable = stat.GetValueOrDefault("total_unevictable"),
            Usage = Counter(cgroup, "memory."),
            Swap = Counter(cgroup, "memory.memsw."),
            Kernel = Counter(cgroup, "memory.kmem."),
            KernelTcp = Counter(cgroup, "memory.kmem.tcp."),
        };
    }

    // Files of swap or of kernel memory can be missing: clients then find an entry of zeros.
    private static MemoryEntry Counter(CgroupV1 cgroup, string prefix) => new()
    {
        Limit = Number(cgroup, "memory", prefix + "limit_in_bytes"),
        Usage = Number(cgroup, "memory", prefix + "usage_in_bytes"),
        Max = Number(cgroup, "memory", prefix + "max_usage_in_bytes"),
        Failcnt = Number(cgroup, "memory", prefix + "failcnt"),
    };

    private static MemoryOomControl? OomControl(CgroupV1 cgroup) => cgroup.Read("memory", "memory.oom_control") is { } text
        ? new MemoryOomControl
        {
            OomKillDisable = CgroupFile.Value(text, "oom_kill_disable"),
            UnderOom = CgroupFile.Value(text, "under_oom"),
            OomKill = CgroupFile.Value(text, "oom_kill"),
        }
        : null;

    private static HugetlbStat? HugePages(CgroupV1 cgroup, string size) =>
        cgroup.Read("hugetlb", $"hugetlb.{size}.usage_in_bytes") is { } usage
            ? new HugetlbStat
            {
                Pagesize = size,
                Usage = CgroupFile.NumberIn(usage, 0),
                Max = Number(cgroup, "hugetlb", $"hugetlb.{size}.max_usage_in_bytes"),
                Failcnt = Number(cgroup, "hugetlb", $"hugetlb.{size}.failcnt"),
            }
            : null;

    // The scheduler CFQ (gone since Linux 5.0; BFQ's files have other names) counts more than the throttle, so it is asked first.
    private static BlkIOStat? BlockIo(CgroupV1 cgroup)
    {
        var devices = cgroup.BlockDevices();
        var stat = new BlkIOStat();
        var found = Add("sectors_recursive", stat.SectorsRecursive)
            | Add("io_service_bytes_recursive", stat.IoServiceBytesRecursive)
            | Add("io_serviced_recursive", stat.IoServicedRecursive)
            | Add("io_queued_recursive", stat.IoQueuedRecursive)
            | Add("io_service_time_recursive", stat.IoServiceTimeRecursive)
            | Add("io_wait_time_recursive", stat.IoWaitTimeRecursive)
            | Add("io_merged_recursive", stat.IoMergedRecursive)
            | Add("time_recursive", stat.IoTimeRecursive);
        if (stat.CalculateSize() == 0)
        {
            found |= Add("throttle.io_serviced", stat.IoServicedRecursive) | Add("throttle.io_service_bytes", stat.IoServiceBytesRecursive);
        }

        return found ? stat : null;

        bool Add(string name, ICollection<BlkIOEntry> entries)
        {
            if (cgroup.Read("blkio", "blkio." + name) is not { } text)
            {
                return false;
            }

            foreach (var line in text.Split('\n'))
            {
                if (BlockIoEntry(line, devices) is { } entry)
                {
                    entries.Add(entry);
                }
            }

            return true;
        }
    }

    /// <summary>From "major:minor Operation count", or the same without an operation; null for the line "Total count" and what is none of these.</summary>
    private static BlkIOEntry? BlockIoEntry(string line, IReadOnlyDictionary<(ulong Major, ulong Minor), string> devices)
    {
        var fields = line.Split([' ', ':'], StringSplitOptions.RemoveEmptyEntries);
        return fields.Length is 3 or 4
            && ulong.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major)
            && ulong.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out var minor)
            && ulong.TryParse(fields[^1], NumberStyles.None, CultureInfo.InvariantCulture, out var value)
                ? new BlkIOEntry
                {
                    Major = major,
                    Minor = minor,
                    Value = value,
                    Op = fields.Length == 4 ? fields[2] : "",
                    Device = devices.GetValueOrDefault((major, minor), ""),
                }
                : null;
    }

    private static RdmaStat? Rdma(CgroupV1 cgroup)
    {
        // A device that comes or goes between the two reads would pair one's use with another's limit.
        if (cgroup.Read("rdma", "rdma.current") is not { } current || cgroup.Read("rdma", "rdma.max") is not { } limit
            || current.Count('\n') != limit.Count('\n'))
        {
            return null;
        }

        var stat = new RdmaStat();
        stat.Current.AddRange(RdmaDevice.Parse(current).Select(Entry));
        stat.Limit.AddRange(RdmaDevice.Parse(limit).Select(Entry));
        return stat;

        static RdmaEntry Entry(RdmaDevice device) => new() { Device = device.Name, HcaHandles = device.Handles, HcaObjects = device.Objects };
    }

    private static ulong Number(CgroupV1 cgroup, string controller, string name) => CgroupFile.NumberIn(cgroup.Read(controller, name), 0);
}
