using System.Text;
using System.Text.Json.Nodes;
using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Runtime;
using Shim.Tests.Support;
using Bundle = Shim.Runtime.Bundle;

namespace Shim.Tests.Runtime;

public sealed class BundleTests
{
    private const string Process = """
        {"terminal":false,"user":{"uid":1,"gid":2,"additionalGids":[3,4]},"args":["sh","-c","true"],"env":["PATH=/bin","A=1"],"cwd":"/work",
         "capabilities":{"bounding":["CAP_KILL"],"ambient":["CAP_KILL"]},"rlimits":[{"type":"RLIMIT_CORE","hard":1,"soft":1}],
         "oomScoreAdj":7,"selinuxLabel":"label","apparmorProfile":"profile","consoleSize":{"height":24,"width":80},"unknown":{"kept":[1,2.5,null]}}
        """;

    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("bundle");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void Load_Complete_DescribesTheProcess()
    {
        var bundle = Load($$"""{"process":{{Process}}}""");
        Assert.That(bundle.Directory, Is.EqualTo(_directory));
        var process = bundle.Process;
        Assert.That(process.Args, Is.EqualTo(new[] { "sh", "-c", "true" }));
        Assert.That(process.Env, Is.EqualTo(new[] { "PATH=/bin", "A=1" }));
        Assert.That((process.Cwd, process.Uid, process.Gid, process.Terminal), Is.EqualTo(("/work", 1u, 2u, false)));
        Assert.That(process.AdditionalGids, Is.EqualTo(new uint[] { 3, 4 }));
    }

    [Test]
    public void Load_OnlyArgs_DefaultsForTheRest()
    {
        var process = Load("""{"process":{"args":["x"]}}""").Process;
        Assert.That(process.Env, Is.Empty);
        Assert.That(process.AdditionalGids, Is.Empty);
        Assert.That((process.Cwd, process.Uid, process.Gid, process.Terminal), Is.EqualTo(("/", 0u, 0u, false)));
    }

    [Test]
    public void Load_FileChangesLater_NothingChanges()
    {
        var bundle = Load("""{"process":{"args":["before"]}}""");
        Write("""{"process":{"args":["after"]}}""");
        Assert.That(bundle.ForExec(new ExecSpec()).Spec.Args, Is.EqualTo(new[] { "before" }));
    }

    [Test]
    public void Load_Missing_NotFound()
    {
        Refused(ErrorKind.NotFound, "/nonexistent/bundle", "the bundle /nonexistent/bundle does not exist");
        Refused(ErrorKind.NotFound, _directory, $"the bundle {_directory} has no config.json");
        Write("{}");
        Refused(ErrorKind.NotFound, Path.Combine(_directory, "config.json"), "does not exist");
    }

    [TestCase("")]
    [TestCase("relative")]
    [TestCase("./x")]
    [TestCase("../x")]
    [TestCase("/tmp\0/x")]
    [TestCase("\0")]
    public void Load_PathThatIsNotAbsolute_InvalidArgument(string path) => Refused(ErrorKind.InvalidArgument, path, "is not absolute");

    [TestCase("", "")]
    [TestCase("{", "")]
    [TestCase("null", "not a JSON object")]
    [TestCase("[]", "not a JSON object")]
    [TestCase("7", "not a JSON object")]
    [TestCase("{\"process\":{\"args\":[\"x\"]}} trailing", "")]
    [TestCase("{}", "it has no process")]
    [TestCase("{\"process\":null}", "it has no process")]
    [TestCase("{\"process\":[]}", "it has no process")]
    [TestCase("{\"process\":{}}", "process.args is empty")]
    [TestCase("{\"process\":{\"args\":[]}}", "process.args is empty")]
    [TestCase("{\"process\":{\"args\":\"sh\"}}", "")]
    [TestCase("{\"process\":{\"args\":{}}}", "")]
    [TestCase("{\"process\":{\"args\":[1]}}", "")]
    [TestCase("{\"process\":{\"args\":[\"\\ud800\"]}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"cwd\":7}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"env\":\"A=1\"}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"env\":[{}]}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"terminal\":\"yes\"}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"uid\":\"root\"}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"uid\":-1}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"uid\":4294967296}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"uid\":1.5}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"additionalGids\":7}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"user\":{\"additionalGids\":[null]}}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"],\"args\":[\"y\"]}}", "")]
    [TestCase("{\"process\":{\"args\":[\"x\"]},\"process\":{\"args\":[\"y\"]}}", "")]
    public void Load_BrokenConfig_InvalidArgumentNamesTheFile(string json, string cause)
    {
        Write(json);
        Refused(ErrorKind.InvalidArgument, _directory, cause);
        Refused(ErrorKind.InvalidArgument, _directory, $"cannot use {_directory}/config.json: ");
    }

    [Test]
    public void Load_NestedWithoutEnd_InvalidArgument()
    {
        Write($$"""{"process":{"args":["x"]},"deep":{{new string('[', 100_000)}}{{new string(']', 100_000)}}}""");
        Refused(ErrorKind.InvalidArgument, _directory, "config.json");
    }

    [Test]
    public void Load_BytesThatAreNoText_InvalidArgument()
    {
        File.WriteAllBytes(Path.Combine(_directory, "config.json"), [.. "{\"process\":{\"args\":[\""u8, 0xff, .. "\"]}}"u8]);
        Refused(ErrorKind.InvalidArgument, _directory, "config.json");
    }

    [Test]
    public void Load_Huge_RefusedWithoutReadingIt()
    {
        using (var file = File.OpenWrite(Path.Combine(_directory, "config.json")))
        {
            file.SetLength(100L * 1024 * 1024 * 1024);
        }

        Refused(ErrorKind.InvalidArgument, _directory, "more than 4194304");
    }

    [Test]
    public void Load_ConfigIsADirectory_InvalidArgument()
    {
        Directory.CreateDirectory(Path.Combine(_directory, "config.json"));
        Refused(ErrorKind.InvalidArgument, _directory, "config.json");
    }

    [Test]
    public async Task Load_ConfigIsAFifo_RefusedWithoutWaiting()
    {
        var path = Path.Combine(_directory, "config.json");
        Assert.That(Libc.MkFifo(path, 0x180), Is.Zero);
        var loading = Task.Run(() => Bundle.Load(_directory));
        try
        {
            Assert.That(await Task.WhenAny(loading, Task.Delay(TimeSpan.FromSeconds(3))), Is.SameAs(loading), "no thread waits for a writer that never comes");
            Assert.That(async () => await loading, Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.InvalidArgument));
        }
        finally
        {
            // Lets go whoever waits.
            using var writer = Fd.Open(path, Libc.O_RDWR | Libc.O_NONBLOCK);
            await Task.WhenAny(loading, Task.Delay(TimeSpan.FromSeconds(1)));
        }
    }

    [Test]
    public void Load_ConfigIsADevice_RefusedWithoutReadingIt()
    {
        File.CreateSymbolicLink(Path.Combine(_directory, "config.json"), "/dev/zero");
        Refused(ErrorKind.InvalidArgument, _directory, "config.json");
    }

    [Test]
    public void ForExec_NothingAsked_IsTheBundlesProcess()
    {
        var (json, spec) = Exec(new ExecSpec());
        var expected = JsonNode.Parse(Process)!.AsObject();
        expected.Remove("consoleSize");
        Assert.That(JsonNode.DeepEquals(json, expected), Is.True, json.ToJsonString());
        Assert.That(spec.Args, Is.EqualTo(new[] { "sh", "-c", "true" }));
        Assert.That((spec.Cwd, spec.Uid, spec.Gid), Is.EqualTo(("/work", 1u, 2u)));
    }

    [Test]
    public void ForExec_Env_AppendedToTheBundles()
    {
        var (json, spec) = Exec(new ExecSpec { Env = ["A=2", "B=3"] });
        Assert.That(Strings(json["env"]), Is.EqualTo(new[] { "PATH=/bin", "A=1", "A=2", "B=3" }));
        Assert.That(spec.Env, Is.EqualTo(new[] { "PATH=/bin", "A=1", "A=2", "B=3" }));
    }

    [Test]
    public void ForExec_ArgsAndCwd_Replace()
    {
        var (json, spec) = Exec(new ExecSpec { Args = ["id", ""], Cwd = "/elsewhere" });
        Assert.That(Strings(json["args"]), Is.EqualTo(new[] { "id", "" }));
        Assert.That(spec.Args, Is.EqualTo(new[] { "id", "" }));
        Assert.That((json["cwd"]!.GetValue<string>(), spec.Cwd), Is.EqualTo(("/elsewhere", "/elsewhere")));
    }

    [Test]
    public void ForExec_User_ReplacesTheWholeUser()
    {
        var (json, spec) = Exec(new ExecSpec { User = new ExecUser(0, 0, []) });
        Assert.That(json["user"]!.ToJsonString(), Is.EqualTo("""{"uid":0,"gid":0}"""), "the groups of another user do not stay");
        Assert.That((spec.Uid, spec.Gid, spec.AdditionalGids.Count), Is.EqualTo((0u, 0u, 0)));
        (json, spec) = Exec(new ExecSpec { User = new ExecUser(uint.MaxValue, 5, [6, 7]) });
        Assert.That(json["user"]!.ToJsonString(), Is.EqualTo("""{"uid":4294967295,"gid":5,"additionalGids":[6,7]}"""));
        Assert.That((spec.Uid, spec.AdditionalGids), Is.EqualTo((uint.MaxValue, (uint[])[6, 7])));
    }

    [Test]
    public void ForExec_Capabilities_Replace()
    {
        var (json, _) = Exec(new ExecSpec { Capabilities = ["CAP_CHOWN", "CAP_KILL"] });
        foreach (var set in new[] { "bounding", "effective", "permitted" })
        {
            Assert.That(Strings(json["capabilities"]![set]), Is.EqualTo(new[] { "CAP_CHOWN", "CAP_KILL" }), set);
        }
    }

    [Test]
    public void ForExec_Rlimits_Replace()
    {
        var (json, _) = Exec(new ExecSpec { Rlimits = [new ExecRlimit("RLIMIT_NOFILE", ulong.MaxValue, 1024)] });
        Assert.That(json["rlimits"]!.ToJsonString(), Is.EqualTo("""[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":1024}]"""));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void ForExec_Terminal_IsTheCallersAlone(bool terminal)
    {
        Write($$$"""{"process":{"args":["x"],"terminal":{{{(terminal ? "false" : "true")}}}}}""");
        var (json, spec) = Bundle.Load(_directory).ForExec(new ExecSpec { Terminal = terminal });
        Assert.That(JsonNode.Parse(json)!["terminal"]!.GetValue<bool>(), Is.EqualTo(terminal));
        Assert.That(spec.Terminal, Is.EqualTo(terminal));
    }

    [Test]
    public void ForExec_Labels_ReplaceAndNoNewPrivilegesIsNeverTakenBack()
    {
        var (json, _) = Exec(new ExecSpec { SelinuxLabel = "l", ApparmorProfile = "p", NoNewPrivileges = true });
        Assert.That(
            (json["selinuxLabel"]!.GetValue<string>(), json["apparmorProfile"]!.GetValue<string>(), json["noNewPrivileges"]!.GetValue<bool>()),
            Is.EqualTo(("l", "p", true)));
        Write("""{"process":{"args":["x"],"noNewPrivileges":true}}""");
        Assert.That(JsonNode.Parse(Bundle.Load(_directory).ForExec(new ExecSpec()).Json)!["noNewPrivileges"]!.GetValue<bool>(), Is.True);
    }

    [Test]
    public void ForExec_TwiceAtOnce_DoNotSeeEachOther()
    {
        var bundle = Load($$"""{"process":{{Process}}}""");
        Parallel.For(0, 200, i =>
        {
            var (json, spec) = bundle.ForExec(new ExecSpec { Args = [$"{i}"], Env = [$"N={i}"] });
            Assert.That(Strings(JsonNode.Parse(json)!["args"]), Is.EqualTo(new[] { $"{i}" }));
            Assert.That(spec.Env, Is.EqualTo(new[] { "PATH=/bin", "A=1", $"N={i}" }));
        });
    }

    [Test]
    public void ReadResources_There_AsWritten()
    {
        Write("""{"linux":{"resources":{"memory":{"limit":-1},"unknown":{"x":[1]}}}}""");
        Assert.That(Encoding.UTF8.GetString(Bundle.ReadResources(_directory).Json), Is.EqualTo("""{"memory":{"limit":-1},"unknown":{"x":[1]}}"""));
    }

    [TestCase("{}")]
    [TestCase("{\"linux\":{}}")]
    [TestCase("{\"linux\":[]}")]
    [TestCase("{\"linux\":{\"resources\":[]}}")]
    [TestCase("{\"linux\":{\"resources\":null}}")]
    [TestCase("nonsense")]
    public void ReadResources_None_InvalidArgument(string json)
    {
        Write(json);
        Assert.That(() => Bundle.ReadResources(_directory), Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.InvalidArgument));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void WriteWithTerminal_RelativeRoot_OnlyTheTerminalDiffers(bool terminal)
    {
        Write($$$"""{"process":{"args":["x"],"terminal":{{{(terminal ? "false" : "true")}}}},"root":{"path":"rootfs","readonly":true},"more":1}""");
        var copy = Path.Combine(_directory, "copy");
        Assert.That(Bundle.WriteWithTerminal(_directory, copy, terminal), Is.EqualTo(copy));
        var written = JsonNode.Parse(File.ReadAllText(Path.Combine(copy, "config.json")))!;
        var expected = JsonNode.Parse(
            $$$"""{"process":{"args":["x"],"terminal":{{{(terminal ? "true" : "false")}}}},"root":{"path":"{{{_directory}}}/rootfs","readonly":true},"more":1}""");
        Assert.That(JsonNode.DeepEquals(written, expected), Is.True, written.ToJsonString());
        Assert.That(File.GetUnixFileMode(copy), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));
    }

    [Test]
    public void WriteWithTerminal_AbsoluteRoot_Stays()
    {
        Write("""{"process":{"args":["x"]},"root":{"path":"/some/where"}}""");
        var copy = Bundle.WriteWithTerminal(_directory, Path.Combine(_directory, "copy"), true);
        Assert.That(JsonNode.Parse(File.ReadAllText(Path.Combine(copy, "config.json")))!["root"]!["path"]!.GetValue<string>(), Is.EqualTo("/some/where"));
    }

    private static string[] Strings(JsonNode? array) => [.. array!.AsArray().Select(item => item!.GetValue<string>())];

    private static void Refused(ErrorKind kind, string path, string message) => Assert.That(
        () => Bundle.Load(path), Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(kind).And.Message.Contains(message));

    private (JsonNode Json, ProcessSpec Spec) Exec(ExecSpec asked)
    {
        var (json, spec) = Load($$"""{"process":{{Process}}}""").ForExec(asked);
        return (JsonNode.Parse(json)!, spec);
    }

    private Bundle Load(string json)
    {
        Write(json);
        return Bundle.Load(_directory);
    }

    private void Write(string json) => File.WriteAllText(Path.Combine(_directory, "config.json"), json);
}
