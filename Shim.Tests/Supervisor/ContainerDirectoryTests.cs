extern alias SupervisorAssembly;

using NUnit.Framework;
using Shim.Tests.Support;
using SupervisorAssembly::Supervisor.Containers;

namespace Shim.Tests.Supervisor;

/// <summary>container.json is read back as it was written, or not at all.</summary>
public sealed class ContainerDirectoryTests
{
    private ContainerDirectory _directory = null!;

    private string RecordPath => Path.Join(_directory.Path, "container.json");

    [SetUp]
    public void Write()
    {
        _directory = new ContainerDirectory(Path.Join(TestRun.NewDirectory("dir"), "c1"), "/s");
        Assert.That(_directory.Create(), Is.True);
        _directory.Write(new ContainerRecord { Id = "c1", Bundle = "/b", Runtime = "runc", RuntimeRoot = "/r", ShimPid = 7, Complete = true });
    }

    [TearDown]
    public void Remove() => Directory.Delete(Path.GetDirectoryName(_directory.Path)!, recursive: true);

    [Test]
    public void Read_AsWritten() => Assert.That(_directory.Read(), Has.Property("ShimPid").EqualTo(7).And.Property("Complete").EqualTo(true));

    [Test]
    public void Read_Missing_IsNoDamage()
    {
        File.Delete(RecordPath);
        Assert.That(_directory.Read(out var damage), Is.Null);
        Assert.That(damage, Is.Null);
    }

    [TestCase("")]
    [TestCase("null")]
    [TestCase("{}")]
    [TestCase("[]")]
    [TestCase("{\"id\":\"c1\",\"bundle\":\"/b\",\"runtime\":\"runc\"")]
    [TestCase("{\"id\":\"other\",\"bundle\":\"/b\",\"runtime\":\"runc\",\"runtimeRoot\":\"/r\"}")]
    [TestCase("{\"id\":\"c1\",\"bundle\":null,\"runtime\":\"runc\",\"runtimeRoot\":\"/r\"}")]
    [TestCase("{\"id\":\"c1\",\"bundle\":\"/b\",\"runtime\":\"runc\",\"runtimeRoot\":\"/r\",\"owners\":null}")]
    [TestCase("{\"id\":\"c1\",\"bundle\":\"/b\",\"runtime\":\"runc\",\"runtimeRoot\":\"/r\",\"shimPid\":\"7\"}")]
    [TestCase("\0\0\0\0\0\0\0\0")]
    public void Read_Damaged_NothingAndWhere(string content)
    {
        File.WriteAllText(RecordPath, content);
        Assert.That(_directory.Read(out var damage), Is.Null);
        Assert.That(damage, Does.Contain(RecordPath));
    }

    [Test]
    public void ADirectoryInItsPlace_NothingAndReplacedByTheNextWrite()
    {
        File.Delete(RecordPath);
        Directory.CreateDirectory(Path.Join(RecordPath, "sub"));
        Assert.That(_directory.Read(out var damage), Is.Null);
        Assert.That(damage, Does.Contain(RecordPath));
        _directory.Write(new ContainerRecord { Id = "c1", Bundle = "/b", Runtime = "runc", RuntimeRoot = "/r" });
        Assert.That(_directory.Read(), Is.Not.Null);
    }

    [Test]
    public void Create_AFileIsInTheWay_False()
    {
        File.WriteAllText(_directory.Path + "2", "");
        Assert.That(new ContainerDirectory(_directory.Path + "2", "/s").Create(), Is.False);
    }
}
