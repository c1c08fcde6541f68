extern alias SupervisorAssembly;

using System.Text.Json.Nodes;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli;
using SupervisorAssembly::Supervisor.Cli.Bundles;

namespace Shim.Tests.Cli;

/// <summary>The config.json that we write for a root directory, and the one that we adjust.</summary>
public sealed class ConfigTests
{
    [Test]
    public void Create_Defaults_AreDockerLike()
    {
        var config = DefaultConfig.Create("web", "/srv/root", new ProcessChoice(), ContainerUser.Root, unifiedCgroups: false);

        Assert.Multiple(() =>
        {
            Assert.That((string?)config["root"]!["path"], Is.EqualTo("/srv/root"));
            Assert.That((string?)config["hostname"], Is.EqualTo("web"));
            Assert.That(Strings(config["process"]!["args"]), Is.EqualTo(new[] { "sh" }));
            Assert.That((string?)config["process"]!["cwd"], Is.EqualTo("/"));
            Assert.That((bool?)config["process"]!["terminal"], Is.False);
            Assert.That((bool?)config["process"]!["noNewPrivileges"], Is.True);
            Assert.That(config["process"]!["rlimits"], Is.Null);
            Assert.That(Strings(config["process"]!["env"]), Has.Exactly(1).StartsWith("PATH="));
            Assert.That(Strings(config["process"]!["capabilities"]!["bounding"]), Has.Length.EqualTo(14).And.Contain("CAP_NET_RAW").And.Not.Contain("CAP_SYS_ADMIN"));
            Assert.That(Destinations(config), Is.EqualTo(new[] { "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup" }));
            Assert.That(Namespaces(config), Is.EqualTo(new[] { "pid", "ipc", "uts", "mount", "network" }));
            Assert.That(Strings(config["linux"]!["maskedPaths"]), Does.Contain("/proc/kcore"));
            Assert.That(Strings(config["linux"]!["readonlyPaths"]), Does.Contain("/proc/sys"));
        });
    }

    [Test]
    public void Create_UnifiedCgroups_HasItsOwnCgroupNamespace() =>
        Assert.That(Namespaces(DefaultConfig.Create("x", "/r", new ProcessChoice(), ContainerUser.Root, unifiedCgroups: true)), Does.Contain("cgroup"));

    [Test]
    public void Create_Choices_AreTaken()
    {
        var choice = new ProcessChoice { Command = ["a", "b c"], Environment = ["PATH=/bin", "X=1"], WorkingDirectory = "/tmp", Terminal = true };

        var process = DefaultConfig.Create(new string('i', 128), "/r", choice, new ContainerUser(1, 2, [3, 4]), unifiedCgroups: false)["process"]!;

        Assert.Multiple(() =>
        {
            Assert.That(Strings(process["args"]), Is.EqualTo(new[] { "a", "b c" }));
            Assert.That(Strings(process["env"]), Is.EqualTo(new[] { "PATH=/bin", "TERM=xterm", "X=1" }));
            Assert.That((string?)process["cwd"], Is.EqualTo("/tmp"));
            Assert.That((bool?)process["terminal"], Is.True);
            Assert.That(process["user"]!.ToJsonString(), Is.EqualTo("""{"uid":1,"gid":2,"additionalGids":[3,4]}"""));
        });
    }

    [Test]
    public void Create_LongId_HostNameFitsTheKernel() =>
        Assert.That(((string)DefaultConfig.Create(new string('i', 128), "/r", new ProcessChoice(), ContainerUser.Root, false)["hostname"]!).Length, Is.LessThanOrEqualTo(64));

    [Test]
    public void Apply_Choices_GoOverTheBundleAndPathsBecomeAbsolute()
    {
        var config = (JsonObject)JsonNode.Parse("""
            {
              "process": { "args": ["old"], "env": ["A=1", "B=2"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "rlimits": [ { "type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1 } ] },
              "root": { "path": "rootfs" },
              "mounts": [ { "destination": "/a", "type": "bind", "source": "data" }, { "destination": "/b", "source": "more", "options": ["rbind"] },
                          { "destination": "/c", "type": "bind", "source": "/abs" }, { "destination": "/proc", "type": "proc", "source": "proc" } ]
            }
            """)!;

        ConfigOverrides.Apply(config, "/bundle", new ProcessChoice { Command = ["new"], Environment = ["B=3", "C="], WorkingDirectory = "/w" }, new ContainerUser(5, 6, []));

        Assert.Multiple(() =>
        {
            Assert.That((string?)config["root"]!["path"], Is.EqualTo("/bundle/rootfs"));
            Assert.That(config["mounts"]!.AsArray().Select(mount => (string?)mount!["source"]), Is.EqualTo(new[] { "/bundle/data", "/bundle/more", "/abs", "proc" }));
            Assert.That(Strings(config["process"]!["args"]), Is.EqualTo(new[] { "new" }));
            Assert.That(Strings(config["process"]!["env"]), Is.EqualTo(new[] { "A=1", "B=3", "C=" }));
            Assert.That((string?)config["process"]!["cwd"], Is.EqualTo("/w"));
            Assert.That(config["process"]!["user"]!.ToJsonString(), Is.EqualTo("""{"uid":5,"gid":6}"""));
            Assert.That(config.ToJsonString(), Does.Contain("18446744073709551615"), "what is not ours is kept to the letter");
        });
    }

    [Test]
    public void Apply_NothingChosen_LeavesTheProcessAlone()
    {
        var config = (JsonObject)JsonNode.Parse("""{ "process": { "args": ["x"], "cwd": "/" }, "root": { "path": "/r" } }""")!;

        ConfigOverrides.Apply(config, "/bundle", new ProcessChoice(), user: null);

        Assert.That(config.ToJsonString(), Is.EqualTo("""{"process":{"args":["x"],"cwd":"/"},"root":{"path":"/r"}}"""));
    }

    [TestCase("{", "is not JSON")]
    [TestCase("[]", "is not a JSON object")]
    [TestCase(null, "is not a bundle")]
    public void Read_BrokenConfig_SaysWhatIsWrong(string? content, string message)
    {
        var bundle = Directory.CreateTempSubdirectory("bundle-").FullName;
        try
        {
            if (content is not null)
            {
                File.WriteAllText(Path.Combine(bundle, "config.json"), content);
            }

            Assert.That(() => ConfigOverrides.Read(bundle), Throws.TypeOf<CliException>().With.Message.Contains(message));
        }
        finally
        {
            Directory.Delete(bundle, recursive: true);
        }
    }

    private static string[] Strings(JsonNode? array) => [.. array!.AsArray().Select(value => (string)value!)];

    private static string[] Destinations(JsonObject config) => [.. config["mounts"]!.AsArray().Select(mount => (string)mount!["destination"]!)];

    private static string[] Namespaces(JsonObject config) => [.. config["linux"]!["namespaces"]!.AsArray().Select(space => (string)space!["type"]!)];
}
