using System.Diagnostics;
using System.Globalization;
using NUnit.Framework;
using Shim.Cgroups;
using Shim.Processes;

namespace Shim.Tests.Cgroups;

/// <summary>This machine's own cgroup v1 hierarchies, with real processes in them.</summary>
[TestFixture]
internal sealed class RealCgroupTests
{
    private static readonly string[] s_controllers = ["freezer", "pids", "memory", "cpu", "cpuacct"];

    private readonly List<Process> _processes = [];
    private readonly string _name = $"shimtest-{Environment.ProcessId}";

    [SetUp]
    public void MakeCgroups()
    {
        if (!File.Exists("/sys/fs/cgroup/freezer/cgroup.procs"))
        {
            Assert.Ignore("this machine has no cgroup v1");
        }

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
            File.WriteAllText($"{DirectoryOf("freezer")}/freezer.state", "THAWED");
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
        Assert.That(cgroup.Version, Is.EqualTo(1));
        Assert.That(cgroup.Processes(), Is.EquivalentTo(new[] { first.Id, second.Id }));
        Assert.That(cgroup.Contains(first.Id), Is.True);
        Assert.That(cgroup.Contains(second.Id), Is.True);
        Assert.That(cgroup.Contains(stranger.Id), Is.False);
        Assert.That(cgroup.Contains(Environment.ProcessId), Is.False);
    }

    [Test]
    public void Stats_RealProcess_Plausible()
    {
        File.WriteAllText($"{DirectoryOf("memory")}/memory.limit_in_bytes", "67108864");
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
        File.WriteAllText($"{DirectoryOf("memory")}/memory.limit_in_bytes", "16777216");
        var keeper = Sleep();
        Move(keeper, "");
        var cgroup = Cgroup.Of(keeper.Id)!;
        Assert.That(cgroup.OomKills(), Is.Zero);
        var greedy = Start("read go; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
        Move(greedy, "");
        greedy.StandardInput.WriteLine();
        Assert.That(greedy.WaitForExit(20_000), Is.True);
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
        File.WriteAllText($"{DirectoryOf("freezer")}/freezer.state", "FROZEN");
        Eventually(() => cgroup.IsFrozen && ProcFs.State(other.Id) == 'D', "freezing");

        using var handle = PidFd.TryOpen(victim.Id)!;
        handle.Signal(9);
        Assert.That(handle.WaitForExit(200), Is.False, "the negative control: a frozen process does not even die");
        cgroup.ReleaseFrozen(victim.Id);
        Assert.That(handle.WaitForExit(5000), Is.True);
        Assert.That(cgroup.IsFrozen, Is.True);
        Assert.That(ProcFs.State(other.Id), Is.EqualTo('D'));

        cgroup.Thaw();
        Eventually(() => !cgroup.IsFrozen && ProcFs.State(other.Id) == 'S', "thawing");
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
            Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromSeconds(20)), $"{what} did not happen in time");
            Thread.Sleep(10);
        }
    }

    private string DirectoryOf(string controller) => $"/sys/fs/cgroup/{controller}/{_name}";

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
