extern alias SupervisorAssembly;

using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli;
using SupervisorAssembly::Supervisor.Cli.Bundles;

namespace Shim.Tests.Cli;

public sealed class UserLookupTests
{
    private const string Passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\nbroken\n:x:5:5\nodd:x:many:7::/:\n";
    private const string Group = "root:x:0:\nweb:x:1001:\nlog:x:20:other,web\nadm:x:21:web\nwebmaster:x:22:webmaster\ndup:x:20:web\n";

    [TestCase("0", 0u, 0u)]
    [TestCase("root", 0u, 0u)]
    [TestCase("web", 1000u, 1001u, 20u, 21u)]
    [TestCase("1000", 1000u, 1001u, 20u, 21u)]
    [TestCase("web:log", 1000u, 20u)]
    [TestCase("web:77", 1000u, 77u)]
    [TestCase("4000", 4000u, 0u)]
    [TestCase("4000:4001", 4000u, 4001u)]
    public void Resolve_Known_Numbers(string text, uint uid, uint gid, params uint[] others)
    {
        var user = new UserLookup(Passwd, Group).Resolve(text);

        Assert.That((user.Uid, user.Gid), Is.EqualTo((uid, gid)));
        Assert.That(user.AdditionalGids, Is.EqualTo(others));
    }

    [TestCase("nobody", "no user nobody")]
    [TestCase("odd", "no user odd")]
    [TestCase("", "no user")]
    [TestCase("4294967295", "no user 4294967295")]
    [TestCase("-1", "no user -1")]
    [TestCase("web:nogroup", "no group nogroup")]
    [TestCase("web:", "no group")]
    public void Resolve_Unknown_SaysWhich(string text, string message)
    {
        var failure = Assert.Throws<CliException>(() => new UserLookup(Passwd, Group).Resolve(text));

        Assert.That(failure!.Message, Does.StartWith(message));
        Assert.That(failure.ExitCode, Is.EqualTo(125));
    }

    [Test]
    public void Under_LinksThatLeadOut_StayInside()
    {
        var root = Directory.CreateTempSubdirectory("user-lookup-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(root, "real"));
            File.WriteAllText(Path.Combine(root, "real", "passwd"), "inside:x:7:8::/:\n");
            File.CreateSymbolicLink(Path.Combine(root, "etc"), "/../../real");
            File.CreateSymbolicLink(Path.Combine(root, "real", "group"), "/../etc/shadow");

            Assert.That(UserLookup.Under(root).Resolve("inside"), Is.EqualTo(new ContainerUser(7, 8, [])).Using<ContainerUser>((a, b) => (a.Uid, a.Gid) == (b.Uid, b.Gid)));
            Assert.That(() => UserLookup.Under(root).Resolve("root"), Throws.TypeOf<CliException>());
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Test]
    public void Under_FifoInPlaceOfPasswd_IsRefusedWithoutBlocking()
    {
        var root = Directory.CreateTempSubdirectory("user-lookup-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(root, "etc"));
            Fifo.Make(Path.Combine(root, "etc", "passwd"));

            Assert.That(() => UserLookup.Under(root), Throws.TypeOf<CliException>().With.Message.Contains("not a regular file"));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Test]
    public void Under_NoFiles_NumbersWork()
    {
        var root = Directory.CreateTempSubdirectory("user-lookup-").FullName;
        try
        {
            Assert.That(UserLookup.Under(root).Resolve("12:13"), Is.EqualTo(new ContainerUser(12, 13, [])).Using<ContainerUser>((a, b) => (a.Uid, a.Gid) == (b.Uid, b.Gid)));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
