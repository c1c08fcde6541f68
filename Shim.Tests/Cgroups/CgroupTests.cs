using Containerd;
using NUnit.Framework;
using Shim.Cgroups;

namespace Shim.Tests.Cgroups;

/// <summary>Parsing, on machines that are only files.</summary>
[TestFixture]
internal sealed class CgroupTests
{
    private const string Hybrid = """
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
        36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 master:1 - cgroup cgroup rw,cpu,cpuacct
        37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
        38 31 0:35 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
        39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
        40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw

        """;

    private static readonly int[] s_expectedPids = [7, 8, 42, 100];
    private static readonly int[] s_contained = [7, 42];
    private static readonly int[] s_one = [42];

    [Test]
    public void Stats_V2_EveryFieldRead()
    {
        using var machine = TestMachine.V2("/box");
        const string Box = "/sys/fs/cgroup/box/";
        machine.Write(Box + "cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\nnr_bursts 9\n");
        machine.Write(Box + "memory.current", "4096\n");
        machine.Write(Box + "memory.max", "8192\n");
        machine.Write(Box + "memory.peak", "5000\n");
        machine.Write(Box + "memory.stat", "anon 11\nfile 22\nfile_mapped 33\nanon_thp 44\n");
        machine.Write(Box + "memory.swap.current", "6\n");
        machine.Write(Box + "memory.events", "low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 1\n");
        machine.Write(Box + "pids.current", "5\n");
        machine.Write(Box + "pids.max", "max\n");
        machine.Write(Box + "io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16 rbytes=10 wbytes=20 rios=30 wios=40\n253:0\n");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        var stats = cgroup.Stats();
        Assert.Multiple(() =>
        {
            Assert.That(cgroup.Version, Is.EqualTo(2));
            Assert.That(stats.CgroupVersion, Is.EqualTo(2));
            Assert.That(stats.Cpu, Is.EqualTo(new CpuUse(30_000, 20_000, 10_000, 7, 3, 5_000)));
            Assert.That(stats.Memory, Is.EqualTo(new MemoryUse(4096, 8192, 5000, 11, 22, 6, 2)));
            Assert.That(stats.Pids, Is.EqualTo(new PidsUse(5, 0)));
            Assert.That(stats.BlockIo, Is.EqualTo(new BlockIoUse(11, 22, 33, 44)));
            Assert.That(stats.Time, Is.EqualTo(DateTimeOffset.UtcNow).Within(TimeSpan.FromMinutes(1)));
            Assert.That(cgroup.OomKills(), Is.EqualTo(2));
        });
    }

    [Test]
    public void Stats_V2FilesMissingOrBroken_Zeros()
    {
        using var machine = TestMachine.V2("/box");
        machine.Write("/sys/fs/cgroup/box/memory.current", "what?\n");
        machine.Write("/sys/fs/cgroup/box/cpu.stat", "\nusage_usec\nusage_usec x\n");
        machine.Write("/sys/fs/cgroup/box/io.stat", "rbytes= wbytes=x rbytes\n");
        var stats = Cgroup.Of(42, machine.Root)!.Stats();
        Assert.That(stats.Memory, Is.EqualTo(new MemoryUse(0, 0, 0, 0, 0, 0, 0)));
        Assert.That(stats.Cpu.UsageNs, Is.Zero);
        Assert.That(stats.BlockIo.ReadBytes, Is.Zero);
    }

    [Test]
    public void Stats_CgroupGone_Precondition()
    {
        using var machine = TestMachine.V2("/box");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        Assert.That(cgroup.Stats, Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.Precondition));
        Assert.That(cgroup.Processes(), Is.Empty);
        Assert.That(cgroup.OomKills(), Is.Zero);
        Assert.That(cgroup.IsFrozen, Is.False);
        Assert.That(cgroup.Thaw, Throws.Nothing);
    }

    [Test]
    public void Processes_V2Nested_EachOnceAndSorted()
    {
        using var machine = TestMachine.V2("/box");
        machine.Write("/sys/fs/cgroup/box/cgroup.procs", "42\n7\n0\n");
        machine.Write("/sys/fs/cgroup/box/inner/cgroup.procs", "100\n42\n");
        machine.Write("/sys/fs/cgroup/box/inner/most/cgroup.procs", "8\n");
        machine.Write("/sys/fs/cgroup/boxer/cgroup.procs", "666\n");
        Assert.That(Cgroup.Of(42, machine.Root)!.Processes(), Is.EqualTo(s_expectedPids));
    }

    [Test]
    public void Contains_V2_InItOrBelow()
    {
        using var machine = TestMachine.V2("/box");
        machine.Write("/proc/7/cgroup", "0::/box/inner\n");
        machine.Write("/proc/8/cgroup", "0::/boxer\n");
        machine.Write("/proc/9/cgroup", "0::/\n");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        Assert.That(Enumerable.Range(7, 36).Where(cgroup.Contains), Is.EqualTo(s_contained));
    }

    [Test]
    public void Freezer_V2_ReadAndLifted()
    {
        using var machine = TestMachine.V2("/box");
        machine.Write("/sys/fs/cgroup/box/cgroup.freeze", "1\n");
        machine.Write("/sys/fs/cgroup/box/cgroup.events", "populated 1\nfrozen 0\n");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        Assert.That(cgroup.IsFrozen, Is.True);
        cgroup.ReleaseFrozen(42);
        Assert.That(cgroup.IsFrozen, Is.True);
        cgroup.Thaw();
        Assert.That(machine.Read("/sys/fs/cgroup/box/cgroup.freeze"), Does.StartWith("0"));
        Assert.That(cgroup.IsFrozen, Is.False);
        machine.Write("/sys/fs/cgroup/box/cgroup.events", "populated 1\nfrozen 1\n");
        Assert.That(cgroup.IsFrozen, Is.True, "frozen from above");
    }

    [Test]
    public void Thaw_NoFreezer_NoFileMade()
    {
        using var machine = TestMachine.V2("/box");
        machine.Write("/sys/fs/cgroup/box/cgroup.procs", "");
        Cgroup.Of(42, machine.Root)!.Thaw();
        Assert.That(File.Exists(machine.Path("/sys/fs/cgroup/box/cgroup.freeze")), Is.False);
    }

    [TestCase("/a.slice:cri-containerd:id")]
    [TestCase("/kube pods/pod one/c:1:2::x")]
    [TestCase("/machine.slice/machine-\\x2dqemu.scope")]
    [TestCase("/ü/名")]
    public void Of_OddPath_Understood(string path)
    {
        using var machine = TestMachine.V2(path);
        machine.Write($"/sys/fs/cgroup{path}/pids.current", "3\n");
        Assert.That(Cgroup.Of(42, machine.Root)!.Stats().Pids.Current, Is.EqualTo(3));
    }

    [TestCase("/")]
    [TestCase("/system.slice/supervisor.service")]
    [TestCase("/../elsewhere")]
    public void Of_NoCgroupOfItsOwn_Null(string path)
    {
        using var machine = TestMachine.V2(path);
        Assert.That(Cgroup.Of(42, machine.Root), Is.Null);
        Assert.That(Cgroup.Of(43, machine.Root), Is.Null, "no such process");
    }

    [Test]
    public void Of_DeletedCgroup_NameAsItWas()
    {
        using var machine = TestMachine.V2("/box (deleted)");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        machine.Write("/proc/42/cgroup", "0::/box\n");
        Assert.That(cgroup.Contains(42), Is.True);
    }

    [Test]
    public void Of_EscapedMountPointAndPartialMount_Found()
    {
        using var machine = TestMachine.V2("/docker/abc/box");
        machine.Write("/proc/self/mountinfo", "30 22 0:26 /docker/abc /mnt/c\\040g rw - cgroup2 cgroup2 rw\n");
        machine.Write("/mnt/c g/box/pids.current", "4\n");
        Assert.That(Cgroup.Of(42, machine.Root)!.Stats().Pids.Current, Is.EqualTo(4));
        machine.Write("/proc/42/cgroup", "0::/docker/abcd/box\n");
        Assert.That(Cgroup.Of(42, machine.Root), Is.Null, "not below what is mounted");
    }

    [Test]
    public void Stats_HybridV1_EveryFieldRead()
    {
        using var machine = new TestMachine();
        machine.Write("/proc/self/mountinfo", Hybrid);
        machine.Write("/proc/self/cgroup", "6:pids:/\n5:memory:/outer\n4:freezer:/\n3:cpu,cpuacct:/\n2:blkio:/\n1:name=systemd:/\n0::/\n");
        machine.Write("/proc/42/cgroup", "6:pids:/box\n5:memory:/outer/box\n4:freezer:/box\n3:cpu,cpuacct:/box\n2:blkio:/box\n1:name=systemd:/box\n0::/\n");
        const string Memory = "/sys/fs/cgroup/memory/outer/box/";
        machine.Write(Memory + "memory.usage_in_bytes", "100\n");
        machine.Write(Memory + "memory.limit_in_bytes", "9223372036854771712\n");
        machine.Write(Memory + "memory.max_usage_in_bytes", "200\n");
        machine.Write(Memory + "memory.stat", "cache 1\nrss 2\nswap 3\ntotal_cache 10\ntotal_rss 20\ntotal_rss_huge 5\ntotal_swap 30\n");
        machine.Write(Memory + "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        machine.Write(Memory + "inner/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        const string Cpu = "/sys/fs/cgroup/cpu,cpuacct/box/";
        machine.Write(Cpu + "cpuacct.usage", "1000000000\n");
        machine.Write(Cpu + "cpuacct.stat", "user 60\nsystem 40\n");
        machine.Write(Cpu + "cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2\n");
        machine.Write("/sys/fs/cgroup/pids/box/pids.current", "6\n");
        machine.Write("/sys/fs/cgroup/pids/box/pids.max", "64\n");
        machine.Write("/sys/fs/cgroup/pids/box/cgroup.procs", "42\n");
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.throttle.io_service_bytes", "8:0 Read 5\n8:0 Write 6\n8:0 Sync 11\n8:0 Total 11\n8:16 Read 1\nTotal 12\n");
        machine.Write("/sys/fs/cgroup/blkio/box/blkio.throttle.io_serviced_recursive", "8:0 Read 7\n8:0 Write 8\n");
        var cgroup = Cgroup.Of(42, machine.Root)!;
        var stats = cgroup.Stats();
        Assert.Multiple(() =>
        {
            Assert.That(cgroup.Version, Is.EqualTo(1));
            Assert.That(stats.Cpu, Is.EqualTo(new CpuUse(1_000_000_000, 600_000_000, 400_000_000, 4, 3, 2)));
            Assert.That(stats.Memory, Is.EqualTo(new MemoryUse(100, 0, 200, 20, 10, 30, 5)));
            Assert.That(stats.Pids, Is.EqualTo(new PidsUse(6, 64)));
            Assert.That(stats.BlockIo, Is.EqualTo(new BlockIoUse(6, 6, 7, 8)));
            Assert.That(cgroup.OomKills(), Is.EqualTo(5));
            Assert.That(cgroup.Processes(), Is.EqualTo(s_one));
            Assert.That(cgroup.Contains(42), Is.True);
        });
    }

    [Test]
    public void Of_HybridV1WhereWeSit_Null()
    {
        using var machine = new TestMachine();
        machine.Write("/proc/self/mountinfo", Hybrid);
        machine.Write("/proc/self/cgroup", "6:pids:/\n5:memory:/outer\n0::/\n");
        machine.Write("/proc/42/cgroup", "6:pids:/\n5:memory:/outer\n0::/\n");
        Assert.That(Cgroup.Of(42, machine.Root), Is.Null);
    }

    [Test]
    public void Of_V1ControllersUnusedButOwnV2_V2()
    {
        using var machine = new TestMachine();
        machine.Write("/proc/self/mountinfo", Hybrid);
        machine.Write("/proc/self/cgroup", "6:pids:/\n0::/\n");
        machine.Write("/proc/42/cgroup", "6:pids:/\n0::/box\n");
        Assert.That(Cgroup.Of(42, machine.Root)!.Version, Is.EqualTo(2));
    }

    [Test]
    public void ReleaseFrozen_V1InFrozenPod_MovedAboveThePod()
    {
        using var machine = new TestMachine();
        machine.Write("/proc/self/mountinfo", Hybrid);
        machine.Write("/proc/self/cgroup", "4:freezer:/\n");
        machine.Write("/proc/42/cgroup", "4:freezer:/pods/pod/box\n");
        const string Freezer = "/sys/fs/cgroup/freezer";
        foreach (var (directory, state) in new[] { ("/pods/pod/box", "FROZEN"), ("/pods/pod", "FROZEN"), ("/pods", "THAWED") })
        {
            machine.Write($"{Freezer}{directory}/freezer.state", state + "\n");
            machine.Write($"{Freezer}{directory}/cgroup.procs", "");
        }

        machine.Write(Freezer + "/cgroup.procs", "");
        Cgroup.Of(42, machine.Root)!.ReleaseFrozen(42);
        Assert.That(machine.Read(Freezer + "/pods/cgroup.procs"), Is.EqualTo("42"));
        machine.Write(Freezer + "/pods/freezer.state", "FROZEN\n");
        Cgroup.Of(42, machine.Root)!.ReleaseFrozen(42);
        Assert.That(machine.Read(Freezer + "/cgroup.procs"), Is.EqualTo("42"), "the root is never frozen");
    }
}
