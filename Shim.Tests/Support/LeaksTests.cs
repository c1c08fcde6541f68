using System.Diagnostics;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>What is left behind is found: otherwise no test that looks for leaks would mean anything.</summary>
public sealed class LeaksTests
{
    private string _directory = null!;
    private string _cgroupPrefix = null!;

    [SetUp]
    public void Prepare()
    {
        Machine.RequireContainers();
        _directory = TestRun.NewDirectory("leak");
        _cgroupPrefix = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
        Assert.That(Leaks.Find(_directory, _cgroupPrefix), Is.Empty);
    }

    [TearDown]
    public void Remove()
    {
        Leaks.Sweep(_directory, _cgroupPrefix);
        Assert.That(() => Leaks.Find(_directory, _cgroupPrefix), Is.Empty.After(5000, 20));
        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public async Task Find_ProcessByArgumentOrDirectory_IsNamed()
    {
        using var byArgument = Process.Start("tail", ["-f", "/dev/null", Path.Combine(_directory, "nothing")]);
        using var byDirectory = Process.Start(new ProcessStartInfo("sleep", "1000") { WorkingDirectory = _directory })!;
        await Poll.Until(() => Leaks.Find(_directory, _cgroupPrefix).Count == 2, Poll.Deadline, "both are found");
        Assert.That(Leaks.Find(_directory, _cgroupPrefix, byArgument.Id).Single(), Does.StartWith($"process {byDirectory.Id} "));
    }

    [Test]
    public void Find_Mount_IsNamed()
    {
        var target = Directory.CreateDirectory(Path.Combine(_directory, "mounted")).FullName;
        using var mount = Process.Start("mount", ["-t", "tmpfs", "none", target]);
        mount.WaitForExit();
        Assert.That(Leaks.Find(_directory, _cgroupPrefix), Is.EqualTo(new[] { $"mount {target}" }));
    }

    [Test]
    public void Find_Cgroup_IsNamed()
    {
        var path = $"/sys/fs/cgroup/{(Machine.CgroupV1 ? "pids/" : string.Empty)}{_cgroupPrefix}-x";
        Directory.CreateDirectory(path);
        Assert.That(Leaks.Find(_directory, _cgroupPrefix), Is.EqualTo(new[] { $"cgroup {path}" }));
    }
}
