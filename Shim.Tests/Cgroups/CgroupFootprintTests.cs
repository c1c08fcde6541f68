using System.Diagnostics;
using System.Globalization;
using NUnit.Framework;
using Shim.Cgroups;
using Shim.Tests.Support;

namespace Shim.Tests.Cgroups;

/// <summary>What a creation will make of cgroups, and how it is removed. On the cgroups of this machine.</summary>
public sealed class CgroupFootprintTests
{
    private string _name = null!;

    [SetUp]
    public void Name()
    {
        Machine.RequireContainers();
        _name = $"{TestRun.CgroupPrefix}-{TestRun.NewName("footprint")}";
    }

    [Test]
    public void Plan_AbsolutePath_IsThatPathInEveryHierarchy()
    {
        var plan = CgroupFootprint.Plan("id", $"/{_name}/leaf");
        Assert.That(plan, Is.Not.Empty.And.All.EndsWith($"/{_name}/leaf"));
        Assert.That(plan, Is.Unique);
        Assert.That(plan.Select(Path.GetDirectoryName).Select(Path.GetDirectoryName).All(Directory.Exists), Is.True, "each below a hierarchy that is there");
    }

    [TestCase("../../x")]
    [TestCase("/../../x")]
    public void Plan_PathThatClimbs_StaysInTheHierarchy(string path) =>
        Assert.That(CgroupFootprint.Plan("id", path), Is.All.StartsWith("/sys/fs/cgroup/").And.All.Not.Contain(".."));

    [TestCase(null)]
    [TestCase("")]
    public void Plan_NoPath_IsNamedAfterTheContainer(string? path) =>
        Assert.That(CgroupFootprint.Plan(_name, path), Is.Not.Empty.And.All.EndsWith($"/{_name}"));

    [TestCase("/")]
    [TestCase("/.")]
    public void Plan_Root_IsNotOurs(string path) => Assert.That(CgroupFootprint.Plan("id", path), Is.Empty);

    [TestCase("/a/b", false, "/a/b")]
    [TestCase("a", false, "/system.slice/a")]
    [TestCase(null, false, "/system.slice/id")]
    [TestCase("a-b.slice:cri:x", true, "/a.slice/a-b.slice/cri-x.scope")]
    [TestCase(":cri:x", true, "/system.slice/cri-x.scope")]
    [TestCase("-.slice::x.slice", true, "/x.slice")]
    [TestCase(null, true, "/system.slice/runc-id.scope")]
    [TestCase("/a/b", true, null)]
    public void UnifiedPath_WhereTheRuntimePutsIt(string? cgroupsPath, bool systemd, string? expected)
    {
        using var machine = TestMachine.V2("/");
        Assert.That(CgroupFootprint.UnifiedPathOf("id", cgroupsPath, systemd, machine.Root), Is.EqualTo(expected));
    }

    [Test]
    public void UnifiedPath_WithControllersOfV1_IsTheRuntimesBusiness()
    {
        using var machine = TestMachine.V2("/");
        machine.Write("/proc/self/mountinfo", machine.Read("/proc/self/mountinfo") + "31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        Assert.That(CgroupFootprint.UnifiedPathOf("id", "/a/b", false, machine.Root), Is.Null);
    }

    [Test]
    public void Plan_SomeOfItIsThere_IsNotOurs()
    {
        var made = CgroupFootprint.Plan("id", $"/{_name}")[^1];
        Directory.CreateDirectory(made);
        try
        {
            Assert.That(CgroupFootprint.Plan("id", $"/{_name}"), Is.Empty);
        }
        finally
        {
            Directory.Delete(made);
        }
    }

    [Test]
    public async Task Remove_WithCgroupsBelowAndProcesses_RemovesThemAll()
    {
        // Not cpuset on v1: a cgroup takes no process there before it has processors.
        var plan = CgroupFootprint.Plan("id", $"/{_name}").Where(directory => !directory.Contains("cpuset", StringComparison.Ordinal)).ToList();
        plan.ForEach(directory => Directory.CreateDirectory(Path.Combine(directory, "below")));
        using var sleep = Process.Start("sleep", "1000");
        foreach (var directory in plan)
        {
            await File.WriteAllTextAsync(Path.Combine(directory, "below", "cgroup.procs"), sleep.Id.ToString(CultureInfo.InvariantCulture));
        }

        Assert.That(await CgroupFootprint.RemoveAsync(plan, TimeProvider.System), Is.Empty);
        Assert.That(sleep.WaitForExit(5000), Is.True, "the process in them");
        Assert.That(plan.Where(Directory.Exists), Is.Empty);
        Assert.That(await CgroupFootprint.RemoveAsync(plan, TimeProvider.System), Is.Empty, "once more");
    }
}
