using Containerd;
using Google.Protobuf;
using NUnit.Framework;
using Shim.Cgroups;
using Shim.Tests.Cgroups;
using Shim.Transport.ShimV2;
using V1 = Containerd.Cgroups.V1;
using V2 = Containerd.Cgroups.V2;

namespace Shim.Tests.Transport.ShimV2;

/// <summary>What the kernel's files say, under the names by which containerd's clients look for it.</summary>
[TestFixture]
internal sealed class CgroupMetricsTests
{
    private const string Controllers = "cpu,cpuacct memory pids blkio hugetlb rdma";

    [Test]
    public void Of_V1_EveryPartFilled()
    {
        using var machine = MachineV1();
        WriteV1(machine);
        var metrics = ReadV1(machine);
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Pids, Is.EqualTo(new V1.PidsStat { Current = 6, Limit = 0 }), "max is 0");
            Assert.That(metrics.Cpu, Is.EqualTo(new V1.CPUStat
            {
                Usage = new V1.CPUUsage { Total = 1_000_000_123, User = 600_000_000, Kernel = 400_000_000, PerCpu = { 7, 0, 8 } },
                Throttling = new V1.Throttle { Periods = 4, ThrottledPeriods = 3, ThrottledTime = 2 },
            }));
            Assert.That(metrics.Memory.Usage, Is.EqualTo(new V1.MemoryEntry { Limit = 9223372036854771712, Usage = 2, Max = 3, Failcnt = 4 }));
            Assert.That(metrics.Memory.Swap, Is.EqualTo(new V1.MemoryEntry { Limit = 5, Usage = 6, Max = 7, Failcnt = 8 }));
            Assert.That(metrics.Memory.Kernel, Is.EqualTo(new V1.MemoryEntry { Limit = 9, Usage = 10, Max = 11, Failcnt = 12 }));
            Assert.That(metrics.Memory.KernelTcp, Is.EqualTo(new V1.MemoryEntry()), "no such files");
            Assert.That(metrics.MemoryOomControl, Is.EqualTo(new V1.MemoryOomControl { OomKillDisable = 1, UnderOom = 1, OomKill = 2 }));
            Assert.That(metrics.Hugetlb, Is.EqualTo(new[] { new V1.HugetlbStat { Pagesize = "2MB", Usage = 1, Max = 2, Failcnt = 3 } }));
            Assert.That(metrics.Blkio.IoServicedRecursive, Is.EqualTo(new[] { Entry("Read", "/dev/sda", 0, 7), Entry("Total", "", 16, 9) }));
            Assert.That(metrics.Blkio.IoServiceBytesRecursive, Is.EqualTo(new[] { Entry("Write", "/dev/sda", 0, 5) }));
            Assert.That(metrics.Rdma.Current, Is.EqualTo(new[] { new V1.RdmaEntry { Device = "mlx4_0", HcaHandles = 2, HcaObjects = 20 } }));
            Assert.That(metrics.Rdma.Limit, Is.EqualTo(new[] { new V1.RdmaEntry { Device = "mlx4_0", HcaHandles = 3, HcaObjects = uint.MaxValue } }));
            Assert.That(metrics.Network, Is.Empty);
            Assert.That(metrics.CgroupStats, Is.Null);
        });
    }

    [Test]
    public void Of_V1MemoryStat_EachFieldFromItsLine()
    {
        using var machine = MachineV1();
        (string Line, string Field)[] names =
        [
            .. new[] { "", "total_" }.SelectMany(prefix => new[]
            {
                ("cache", "cache"), ("rss", "rss"), ("rss_huge", "rss_huge"), ("mapped_file", "mapped_file"), ("dirty", "dirty"), ("writeback", "writeback"),
                ("pgpgin", "pg_pg_in"), ("pgpgout", "pg_pg_out"), ("pgfault", "pg_fault"), ("pgmajfault", "pg_maj_fault"), ("inactive_anon", "inactive_anon"),
                ("active_anon", "active_anon"), ("inactive_file", "inactive_file"), ("active_file", "active_file"), ("unevictable", "unevictable"),
            }.Select(pair => (prefix + pair.Item1, prefix + pair.Item2))),
            ("hierarchical_memory_limit", "hierarchical_memory_limit"), ("hierarchical_memsw_limit", "hierarchical_swap_limit"),
        ];
        machine.Write("/sys/fs/cgroup/memory/box/memory.stat", string.Concat(names.Select((name, i) => $"{name.Line} {i + 1}\n")));
        AssertFields(ReadV1(machine).Memory, names, 32);
    }

    [Test]
    public void Of_V1Cfq_ItsFilesInsteadOfTheThrottles()
    {
        using var machine = MachineV1();
        WriteV1(machine);
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.sectors_recursive", "8:0 40\n");
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.io_wait_time_recursive", "8:0 Read 41\nTotal 41\n");
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.time_recursive", "8:0 42\n");
        var io = ReadV1(machine).Blkio;
        Assert.That(io, Is.EqualTo(new V1.BlkIOStat
        {
            SectorsRecursive = { Entry("", "/dev/sda", 0, 40) },
            IoWaitTimeRecursive = { Entry("Read", "/dev/sda", 0, 41) },
            IoTimeRecursive = { Entry("", "/dev/sda", 0, 42) },
        }));
    }

    [Test]
    public void Of_V1WithoutFiles_OnlyTheCpuPartAndEmpty()
    {
        using var machine = MachineV1();
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.throttle.io_serviced", "what\n8:0 Read much\n:\n");
        Assert.That(ReadV1(machine), Is.EqualTo(new V1.Metrics
        {
            Cpu = new V1.CPUStat { Usage = new V1.CPUUsage(), Throttling = new V1.Throttle() },
            Blkio = new V1.BlkIOStat(),
        }));
    }

    [Test]
    public void Of_V2_EveryPartFilled()
    {
        using var machine = MachineV2();
        machine.Write("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
        void Write(string name, string text) => machine.Write("/sys/fs/cgroup/box/" + name, text);
        Write("pids.current", "5\n");
        Write("pids.max", "max\n");
        Write("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\nnr_bursts 9\nburst_usec 11\n");
        Write("cpu.pressure", "some avg10=1.25 avg60=2.50 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=3.75 total=78\n");
        Write("memory.current", "4096\n");
        Write("memory.max", "max\n");
        Write("memory.peak", "5000\n");
        Write("memory.swap.current", "6\n");
        Write("memory.swap.max", "7\n");
        Write("memory.swap.peak", "8\n");
        Write("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
        Write("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:0\n8:16 rbytes=10 wbytes=x\n");
        Write("rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n");
        Write("rdma.max", "mlx4_0 hca_handle=max hca_object=21\n");
        Write("hugetlb.1GB.current", "12\n");
        Write("hugetlb.1GB.max", "13\n");
        Write("hugetlb.1GB.events", "max 14\n");
        Assert.That(ReadV2(machine), Is.EqualTo(new V2.Metrics
        {
            Pids = new V2.PidsStat { Current = 5, Limit = ulong.MaxValue },
            Cpu = new V2.CPUStat
            {
                UsageUsec = 30,
                UserUsec = 20,
                SystemUsec = 10,
                NrPeriods = 7,
                NrThrottled = 3,
                ThrottledUsec = 5,
                NrBursts = 9,
                BurstUsec = 11,
                Psi = new V2.PSIStats
                {
                    Some = new V2.PSIData { Avg10 = 1.25, Avg60 = 2.5, Total = 77 },
                    Full = new V2.PSIData { Avg300 = 3.75, Total = 78 },
                },
            },
            Memory = new V2.MemoryStat { Usage = 4096, UsageLimit = ulong.MaxValue, MaxUsage = 5000, SwapUsage = 6, SwapLimit = 7, SwapMaxUsage = 8 },
            MemoryEvents = new V2.MemoryEvents { Low = 1, High = 2, Max = 3, Oom = 4, OomKill = 5, OomGroupKill = 6 },
            Io = new V2.IOStat
            {
                Usage = { new V2.IOEntry { Major = 8, Rbytes = 1, Wbytes = 2, Rios = 3, Wios = 4 }, new V2.IOEntry { Major = 8, Minor = 16, Rbytes = 10 } },
            },
            Rdma = new V2.RdmaStat
            {
                Current = { new V2.RdmaEntry { Device = "mlx4_0", HcaHandles = 2, HcaObjects = 20 } },
                Limit = { new V2.RdmaEntry { Device = "mlx4_0", HcaHandles = uint.MaxValue, HcaObjects = 21 } },
            },
            Hugetlb = { new V2.HugeTlbStat { Pagesize = "1GB", Current = 12, Max = 13, Failcnt = 14 } },
        }));
    }

    [Test]
    public void Of_V2MemoryStat_EachFieldFromItsLine()
    {
        using var machine = MachineV2();
        // Here the names are the kernel's own; what comes from other files is left out.
        (string Line, string Field)[] names =
        [
            .. V2.MemoryStat.Descriptor.Fields.InFieldNumberOrder()
                .Where(field => field.FieldNumber is < 32 or > 38)
                .Select(field => (field.Name, field.Name)),
        ];
        machine.Write("/sys/fs/cgroup/box/memory.stat", string.Concat(names.Select((name, i) => $"{name.Line} {i + 1}\n")));
        AssertFields(ReadV2(machine).Memory, names, 35);
    }

    [Test]
    public void Of_V2WithoutFiles_PartsEmpty()
    {
        using var machine = MachineV2();
        Assert.That(ReadV2(machine), Is.EqualTo(new V2.Metrics
        {
            Pids = new V2.PidsStat(),
            Cpu = new V2.CPUStat(),
            Memory = new V2.MemoryStat(),
            Io = new V2.IOStat(),
            Rdma = new V2.RdmaStat(),
        }));
    }

    [Test]
    public void Of_CgroupGone_Precondition()
    {
        using var machine = TestMachine.V2("/box");
        Assert.That(
            () => CgroupMetrics.Of(Cgroup.Of(42, machine.Root)!),
            Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.Precondition));
    }

    private static V1.BlkIOEntry Entry(string op, string device, ulong minor, ulong value) =>
        new() { Op = op, Device = device, Major = 8, Minor = minor, Value = value };

    private static void AssertFields(IMessage message, (string Line, string Field)[] names, int count) => Assert.Multiple(() =>
    {
        Assert.That(names, Has.Length.EqualTo(count));
        foreach (var (line, field, i) in names.Select((name, i) => (name.Line, name.Field, i)))
        {
            Assert.That(message.Descriptor.FindFieldByName(field).Accessor.GetValue(message), Is.EqualTo((ulong)(i + 1)), line);
        }
    });

    private static V1.Metrics ReadV1(TestMachine machine)
    {
        var packed = CgroupMetrics.Of(Cgroup.Of(42, machine.Root)!);
        Assert.That(packed.TypeUrl, Is.EqualTo("io.containerd.cgroups.v1.Metrics"));
        return V1.Metrics.Parser.ParseFrom(packed.Value);
    }

    private static V2.Metrics ReadV2(TestMachine machine)
    {
        var packed = CgroupMetrics.Of(Cgroup.Of(42, machine.Root)!);
        Assert.That(packed.TypeUrl, Is.EqualTo("io.containerd.cgroups.v2.Metrics"));
        return V2.Metrics.Parser.ParseFrom(packed.Value);
    }

    private static TestMachine MachineV2()
    {
        var machine = TestMachine.V2("/box");
        machine.Write("/sys/fs/cgroup/box/cgroup.procs", "42\n");
        return machine;
    }

    private static TestMachine MachineV1()
    {
        var machine = new TestMachine();
        var each = Controllers.Split(' ').Select((name, i) => (name, i)).ToList();
        machine.Write("/proc/self/mountinfo", string.Concat(each.Select(e => $"{e.i + 35} 31 0:{e.i + 32} / /sys/fs/cgroup/{e.name} rw - cgroup cgroup rw,{e.name}\n")));
        machine.Write("/proc/self/cgroup", string.Concat(each.Select(e => $"{e.i + 1}:{e.name}:/\n")));
        machine.Write("/proc/42/cgroup", string.Concat(each.Select(e => $"{e.i + 1}:{e.name}:/box\n")));
        machine.Write("/sys/fs/cgroup/pids/box/cgroup.procs", "42\n");
        return machine;
    }

    private static void WriteV1(TestMachine machine)
    {
        void Write(string controller, string name, string text) => machine.Write($"/sys/fs/cgroup/{controller}/box/{name}", text);
        machine.Write("/proc/partitions", "major minor  #blocks  name\n\n   8        0  500107608 sda\n   8        1     524288 sda1\n");
        machine.Write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n");
        Write("pids", "pids.current", "6\n");
        Write("pids", "pids.max", "max\n");
        Write("cpu,cpuacct", "cpuacct.usage", "1000000123\n");
        Write("cpu,cpuacct", "cpuacct.usage_percpu", "7 0 8 \n");
        Write("cpu,cpuacct", "cpuacct.usage_user", "1\n");
        Write("cpu,cpuacct", "cpuacct.stat", "user 60\nsystem 40\n");
        Write("cpu,cpuacct", "cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2\n");
        Write("memory", "memory.stat", "cache 1\n");
        Write("memory", "memory.oom_control", "oom_kill_disable 1\nunder_oom 1\noom_kill 2\n");
        string[] counters = ["limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt"];
        var value = 0;
        foreach (var prefix in new[] { "memory.", "memory.memsw.", "memory.kmem." })
        {
            foreach (var counter in counters)
            {
                Write("memory", prefix + counter, ++value == 1 ? "9223372036854771712\n" : $"{value}\n");
            }
        }

        Write("hugetlb", "hugetlb.2MB.usage_in_bytes", "1\n");
        Write("hugetlb", "hugetlb.2MB.max_usage_in_bytes", "2\n");
        Write("hugetlb", "hugetlb.2MB.failcnt", "3\n");
        Write("blkio", "blkio.throttle.io_serviced", "8:0 Read 7\n8:16 Total 9\nTotal 16\n");
        Write("blkio", "blkio.throttle.io_service_bytes", "8:0 Write 5\nTotal 5\n");
        Write("rdma", "rdma.current", "mlx4_0 hca_handle=2 hca_object=20\n");
        Write("rdma", "rdma.max", "mlx4_0 hca_handle=3 hca_object=max\n");
    }
}
