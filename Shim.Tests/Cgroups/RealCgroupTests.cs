using System.Diagnostics;
using System.Globalization;
using NUnit.Framework;
using Shim.Cgroups;
using Shim.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Cgroups;

/// <summary>This machine's own cgroup hierarchies, v1 or v2, with real processes in them.</summary>
[TestFixture]
[Category("CgroupV2")]
internal sealed class RealCgroupTests
{
    // One hierarchy each with v1, the same directory for all with v2.
    private static readonly string[] s_controllers = Machine.CgroupV1 ? ["freezer", "pids", "memory", "cpu", "cpuacct"] : [""];

    private readonly List<Process> _processes = [];
    private readonly string _name = $"shimtest-{Environment.ProcessId}";

    [SetUp]
    public void MakeCgroups()
    {
        Machine.Require(
            Environment.IsPrivilegedProcess && Directory.Exists(Machine.CgroupV1 ? "/sys/fs/cgroup/freezer" : "/sys/fs/cgroup"),
            "making cgroups needs root, and cgroups mounted below /sys/fs/cgroup");
        foreach (var controller in s_controllers)
        {
            Directory.CreateDirectory($"/sys/fs/cgroup/{controller}/{_name}/inner");
        }
    }

    [TearDown]
    public void RemoveCgroups()
    {
        if (Directory.Exists(DirectoryOf("freezer")))
        {
            Freeze(false);
        }

        foreach (var process in _processes)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        _processes.Clear();
        foreach (var directory in s_controllers.SelectMany(controller => new[] { $"{DirectoryOf(controller)}/inner", DirectoryOf(controller) }))
        {
            Eventually(() => Remove(directory), $"removing {directory}");
        }
    }

    [Test]
    public void Of_ProcessesOfThisTest_Null()
    {
        Assert.That(Cgroup.Of(Environment.ProcessId), Is.Null);
        var child = Sleep();
        Assert.That(Cgroup.Of(child.Id), Is.Null, "a child sits where we sit");
    }

    [Test]
    public void Processes_Nested_AllListedAndContained()
    {
        var first = Sleep();
        var second = Sleep();
        var stranger = Sleep();
        Move(first, "");
        Move(second, "/inner");
        var cgroup = Cgroup.Of(first.Id)!;
        Assert.That(cgroup.Version, Is.EqualTo(Machine.CgroupV1 ? 1 : 2));
        Assert.That(cgroup.Processes(), Is.EquivalentTo(new[] { first.Id, second.Id }));
        Assert.That(cgroup.Contains(first.Id), Is.True);
        Assert.That(cgroup.Contains(second.Id), Is.True);
        Assert.That(cgroup.Contains(stranger.Id), Is.False);
        Assert.That(cgroup.Contains(Environment.ProcessId), Is.False);
    }

    [Test]
    public void Stats_RealProcess_Plausible()
    {
        LimitMemory(67108864);
        File.WriteAllText($"{DirectoryOf("pids")}/pids.max", "17");
        var process = Start("while :; do :; done");
        Move(process, "");
        var cgroup = Cgroup.Of(process.Id)!;
        Eventually(() => cgroup.Stats().Cpu.UsageNs > 50_000_000, "using the CPU");
        var stats = cgroup.Stats();
        Assert.Multiple(() =>
        {
            Assert.That(stats.Cpu.UserNs + stats.Cpu.SystemNs, Is.GreaterThan(0));
            Assert.That(stats.Memory.LimitBytes, Is.EqualTo(67108864));
            Assert.That(stats.Pids, Is.EqualTo(new PidsUse(1, 17)));
            Assert.That(stats.Memory.OomKills, Is.Zero);
        });
    }

    [Test]
    public void OomKills_ProcessThatWantsTooMuch_Counted()
    {
        LimitMemory(16777216);
        var keeper = Sleep();
        Move(keeper, "");
        var cgroup = Cgroup.Of(keeper.Id)!;
        Assert.That(cgroup.OomKills(), Is.Zero);
        var greedy = Start("read go; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
        Move(greedy, "");
        greedy.StandardInput.WriteLine();
        Assert.That(greedy.WaitForExit(Patience.Of(TimeSpan.FromSeconds(20))), Is.True);
        Eventually(() => cgroup.OomKills() == 1, "counting the kill");
    }

    [Test]
    public void ReleaseFrozen_KilledWhileFrozen_EndsAndOthersStayFrozen()
    {
        var victim = Sleep();
        var other = Sleep();
        Move(victim, "");
        Move(other, "");
        var cgroup = Cgroup.Of(victim.Id)!;
        Assert.That(cgroup.IsFrozen, Is.False);
        Freeze(true);
        Eventually(() => cgroup.IsFrozen && StandsStill(other), "freezing");

        using var handle = PidFd.TryOpen(victim.Id)!;
        handle.Signal(9);
        if (Machine.CgroupV1)
        {
            Assert.That(handle.WaitForExit(200), Is.False, "the negative control: a frozen process does not even die");
        }

        cgroup.ReleaseFrozen(victim.Id);
        Assert.That(handle.WaitForExit((int)Patience.Of(TimeSpan.FromSeconds(5)).TotalMilliseconds), Is.True);
        Assert.That(cgroup.IsFrozen, Is.True);
        Eventually(() => StandsStill(other), "the other one standing still");

        cgroup.Thaw();
        Eventually(() => !cgroup.IsFrozen && !StandsStill(other), "thawing");
    }

    [Test]
    public void Gone_CgroupRemoved_AnswersOrRefusesCleanly()
    {
        var process = Sleep();
        Move(process, "");
        var cgroup = Cgroup.Of(process.Id)!;
        process.Kill();
        process.WaitForExit();
        foreach (var controller in s_controllers)
        {
            Eventually(() => Remove($"{DirectoryOf(controller)}/inner") && Remove(DirectoryOf(controller)), "removing");
        }

        Assert.That(cgroup.Processes(), Is.Empty);
        Assert.That(cgroup.Contains(process.Id), Is.False);
        Assert.That(cgroup.OomKills(), Is.Zero);
        Assert.That(cgroup.IsFrozen, Is.False);
        Assert.That(cgroup.Thaw, Throws.Nothing);
        Assert.That(() => cgroup.ReleaseFrozen(process.Id), Throws.Nothing);
        Assert.That(cgroup.Stats, Throws.InstanceOf<Containerd.TaskException>()
            .With.Property(nameof(Containerd.TaskException.Kind)).EqualTo(Containerd.ErrorKind.Precondition));
    }

    private static bool Remove(string directory)
    {
        try
        {
            if (Directory.Exists(directory))
            {
                Directory.Delete(directory);
            }

            return true;
        }
        catch (IOException)
        {
            // A process that has just ended may still be counted.
            return false;
        }
    }

    private static void Eventually(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.That(clock.Elapsed, Is.LessThan(Patience.Of(TimeSpan.FromSeconds(20))), $"{what} did not happen in time");
            Thread.Sleep(10);
        }
    }

    private string DirectoryOf(string controller) => Machine.CgroupV1 ? $"/sys/fs/cgroup/{controller}/{_name}" : $"/sys/fs/cgroup/{_name}";

    private void LimitMemory(int bytes) => File.WriteAllText(
        $"{DirectoryOf("memory")}/{(Machine.CgroupV1 ? "memory.limit_in_bytes" : "memory.max")}", bytes.ToString(CultureInfo.InvariantCulture));

    private void Freeze(bool frozen)
    {
        if (Machine.CgroupV1)
        {
            File.WriteAllText($"{DirectoryOf("freezer")}/freezer.state", frozen ? "FROZEN" : "THAWED");
        }
        else
        {
            File.WriteAllText($"{DirectoryOf("freezer")}/cgroup.freeze", frozen ? "1" : "0");
        }
    }

    // A process that v1 has frozen looks like one that waits for a disk; one that v2 has frozen looks asleep, and its cgroup says it.
    private bool StandsStill(Process process) => Machine.CgroupV1
        ? ProcFs.State(process.Id) == 'D'
        : File.ReadAllText($"{DirectoryOf("freezer")}/cgroup.events").Contains("frozen 1", StringComparison.Ordinal);

    private void Move(Process process, string below)
    {
        foreach (var controller in s_controllers)
        {
            File.WriteAllText($"{DirectoryOf(controller)}{below}/cgroup.procs", process.Id.ToString(CultureInfo.InvariantCulture));
        }
    }

    private Process Sleep() => Start("exec sleep 600");

    private Process Start(string script)
    {
        var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", script]) { RedirectStandardInput = true })!;
        _processes.Add(process);
        return process;
    }
}
