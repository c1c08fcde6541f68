using Containerd.Bootstrap.V1;
using Containerd.Runc.V1;
using Containerd.Types;
using Google.Protobuf;
using NUnit.Framework;
using Shim.Bootstrap.ShimV2;
using Shim.Tests.Support;
using Extension = Containerd.Bootstrap.V1.Extension;
using RuntimeConfig = Containerd.RuntimeOptions.V1.Options;

namespace Shim.Tests.ShimV2.Direct;

/// <summary>How containerds of every generation start a shim, byte by byte.</summary>
public sealed class StartTests
{
    private static readonly byte[] s_options = ShimV2Fixture.Pack(new Options { BinaryName = "runc" }).ToByteArray();

    private static readonly byte[] s_config = ShimV2Fixture.Pack(
        new RuntimeConfig { TypeUrl = "containerd.runc.v1.Options", ConfigBody = ByteString.CopyFromUtf8("BinaryName = \"runc\"\n") }).ToByteArray();

    private static readonly string[] s_inputs = ["nothing", "options", "config"];

    [Test]
    public async Task Containerd16_BareAddress([ValueSource(nameof(s_inputs))] string input)
    {
        await using var test = new ShimV2Fixture();
        var id = TestRun.NewName("c");
        var run = await test.StartAsync(id, test.NewBundle().Path, TaskWire.TtrpcV2, Bytes(input));
        Assert.That(run.OutputOf(), Is.EqualTo($"unix://{test.SocketOf(id)}"));
        Assert.That(run.Error, Is.Empty);
        await AnswersAsync(test, id, TaskWire.TtrpcV2);
    }

    [TestCase(TaskWire.TtrpcV2, "2", """{"version":2,"address":"ADDRESS","protocol":"ttrpc"}""")]
    [TestCase(TaskWire.TtrpcV3, "3", """{"version":2,"address":"ADDRESS","protocol":"ttrpc"}""")]
    [TestCase(TaskWire.GrpcV3, "2", """{"version":3,"address":"ADDRESS","protocol":"grpc"}""")]
    [TestCase(TaskWire.GrpcV3, "3", """{"version":3,"address":"ADDRESS","protocol":"grpc"}""")]
    public async Task Containerd17To22_Json(TaskWire wire, string version, string answer)
    {
        await using var test = new ShimV2Fixture();
        var id = TestRun.NewName("c");
        var run = await test.StartAsync(id, test.NewBundle().Path, wire, s_options, ("MAX_SHIM_VERSION", version));
        Assert.That(run.OutputOf(), Is.EqualTo(answer.Replace("ADDRESS", $"unix://{test.SocketOf(id)}", StringComparison.Ordinal)));
        await AnswersAsync(test, id, wire);
    }

    [TestCase(TaskWire.TtrpcV3, "ttrpc")]
    [TestCase(TaskWire.GrpcV3, "grpc")]
    public async Task Containerd23_ParametersAnsweredInKind(TaskWire wire, string protocol)
    {
        await using var test = new ShimV2Fixture();
        var id = TestRun.NewName("c");
        var parameters = Parameters(test, id);
        var run = await ShimV2Fixture.CallAsync(
            wire == TaskWire.GrpcV3 ? ShimV2Fixture.GrpcName : ShimV2Fixture.Name, test.NewBundle().Path, parameters.ToByteArray(), ["start"]);
        _ = run.OutputOf();
        test.Started(id, $"unix://{test.SocketOf(id)}", wire);
        Assert.That(run.Bytes, Is.EqualTo(new BootstrapResult { Version = 3, Address = $"unix://{test.SocketOf(id)}", Protocol = protocol }.ToByteArray()));
        await AnswersAsync(test, id, wire);
    }

    [Test]
    public async Task Containerd23_SocketDirectoryIsItsChoice()
    {
        await using var test = new ShimV2Fixture();
        var id = TestRun.NewName("c");
        var parameters = Parameters(test, id);
        var directory = Path.Combine(TestRun.Root, TestRun.NewName("s"));
        parameters.SocketDir = directory;
        var run = await ShimV2Fixture.CallAsync(ShimV2Fixture.Name, test.NewBundle().Path, parameters.ToByteArray(), ["start"]);
        _ = run.OutputOf();
        var address = BootstrapResult.Parser.ParseFrom(run.Bytes).Address;
        test.Started(id, address, TaskWire.TtrpcV3);
        Assert.That(address, Does.StartWith($"unix://{directory}/"));
        await using var shim = await TaskClient.ConnectAsync(address, TaskWire.TtrpcV3);
        var pid = (int)(await shim.ConnectAsync(id)).ShimPid;
        await shim.ShutdownAsync(id);
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of the shim");
        Directory.Delete(directory);
    }

    [TestCase("not/absolute")]
    [TestCase("/tmp/a-directory-whose-name-is-so-long-that-a-socket-in-it-would-have-a-path-that-no-kernel-takes")]
    public async Task Containerd23_SocketDirectoryThatWillNotDo_RefusedWithTheReason(string directory)
    {
        await using var test = new ShimV2Fixture();
        var parameters = Parameters(test, "c1");
        parameters.SocketDir = directory;
        var run = await ShimV2Fixture.CallAsync(ShimV2Fixture.Name, test.NewBundle().Path, parameters.ToByteArray(), ["start"]);
        Assert.That(run.OutputOf(1), Is.Empty);
        Assert.That(run.Error, Does.Contain(directory));
    }

    [TestCase("io.containerd.runc.v2.group")]
    [TestCase("io.kubernetes.cri.sandbox-id")]
    public async Task Group_SecondGetsTheFirstsShim(string annotation)
    {
        await using var test = new ShimV2Fixture();
        var pod = TestRun.NewName("pod");
        var first = test.NewBundle(bundle => bundle.Annotation(annotation, pod));
        var second = test.NewBundle(bundle => bundle.Annotation(annotation, pod));
        var address = (await test.StartAsync(pod, first.Path, TaskWire.TtrpcV2, [])).OutputOf();
        Assert.That(address, Is.EqualTo($"unix://{test.SocketOf(pod)}"));
        var id = TestRun.NewName("c");
        Assert.That((await test.StartAsync(id, second.Path, TaskWire.TtrpcV2, [])).OutputOf(), Is.EqualTo(address));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(second.Path, "address")), Is.EqualTo(address));
    }

    [Test]
    public async Task SocketThatAShimHasLeft_IsReplaced()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync();
        await task.KillShimAsync();
        Assert.That(File.Exists(test.SocketOf(task.Id)), Is.True);
        _ = await test.DeleteAsync(task.Id, task.Bundle.Path);
        (await test.StartAsync(task.Id, task.Bundle.Path, TaskWire.TtrpcV2, [])).OutputOf();
        await AnswersAsync(test, task.Id, TaskWire.TtrpcV2);
    }

    [TestCase("c1", "garbage", "stdin holds neither")]
    [TestCase("..", "nothing", "id")]
    [TestCase("a/b", "nothing", "id")]
    public async Task BadRequest_SaysWhy_AndLeavesNothing(string id, string input, string complaint)
    {
        await using var test = new ShimV2Fixture();
        var run = await test.StartAsync(id, test.NewBundle().Path, TaskWire.TtrpcV2, Bytes(input));
        Assert.That(run.OutputOf(1), Is.Empty);
        Assert.That(run.Error, Does.Contain(complaint));
        Assert.That(File.Exists(test.SocketOf(id)), Is.False);
    }

    [Test]
    public async Task GrpcUnderContainerd16_RefusedWithTheReason()
    {
        await using var test = new ShimV2Fixture();
        var run = await test.StartAsync("c1", test.NewBundle().Path, TaskWire.GrpcV3, s_options);
        Assert.That(run.OutputOf(1), Is.Empty);
        Assert.That(run.Error, Does.Contain("io.containerd.runc.v2-cs"));
    }

    [Test]
    public async Task ShimCgroup_TheShimIsInIt()
    {
        await using var test = new ShimV2Fixture();
        test.Daemon.StartTtrpc();
        var cgroup = $"{test.Namespace}-shims";
        var root = Machine.CgroupV1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
        Directory.CreateDirectory(Path.Combine(root, cgroup));
        try
        {
            await using var task = await test.RunAsync(options: new Options { ShimCgroup = $"/{cgroup}" });
            Assert.That(HostProcess.ReadFile(task.ShimPid, "cgroup"), Does.Contain($":/{cgroup}\n"));
            await task.Shim.KillAsync(task.Id, 9);
            _ = await task.Shim.WaitAsync(task.Id);
            _ = await task.Shim.DeleteAsync(task.Id);
            await task.Shim.ShutdownAsync(task.Id);
            await Poll.Until(() => !HostProcess.Runs(task.ShimPid), Poll.Deadline, "the end of the shim");
        }
        finally
        {
            await Poll.Until(() => Mono.Unix.Native.Syscall.rmdir(Path.Combine(root, cgroup)) == 0, Poll.Deadline, "the shims' cgroup is empty");
        }
    }

    [Test]
    public async Task ShimCgroupThatIsNotThere_RefusedAndNoShimLeft()
    {
        await using var test = new ShimV2Fixture();
        var run = await test.StartAsync(
            "c1", test.NewBundle().Path, TaskWire.TtrpcV2, ShimV2Fixture.Pack(new Options { ShimCgroup = "/no-such-cgroup" }).ToByteArray());
        Assert.That(run.OutputOf(1), Is.Empty);
        Assert.That(run.Error, Does.Contain("/no-such-cgroup"));
        Assert.That(File.Exists(test.SocketOf("c1")), Is.False);
    }

    [Test]
    public async Task Info_NameVersionAndFeatures()
    {
        await using var test = new ShimV2Fixture();
        var run = await ShimV2Fixture.CallAsync(
            ShimV2Fixture.Name, "/", new RuntimeRequest { Options = ShimV2Fixture.Pack(new Options { BinaryName = "runc" }) }.ToByteArray(), ["-info"]);
        _ = run.OutputOf();
        var info = RuntimeInfo.Parser.ParseFrom(run.Bytes);
        Assert.That(info.Name, Is.EqualTo("io.containerd.runc.v2-cs"));
        Assert.That(info.Version.Version, Is.Not.Empty);
        Assert.That(info.Features?.Value.ToStringUtf8(), Does.Contain("ociVersionMax"));
    }

    [Test]
    public async Task Version_IsPrinted()
    {
        await using var test = new ShimV2Fixture();
        Assert.That((await ShimV2Fixture.CallAsync(ShimV2Fixture.Name, "/", [], ["-v"])).OutputOf(), Does.StartWith($"{ShimV2Fixture.Name}:\n  Version:  0."));
    }

    [TestCase("-nope")]
    [TestCase("begin")]
    [TestCase("start", "more")]
    public async Task BadCommandLine_Refused(params string[] arguments)
    {
        await using var test = new ShimV2Fixture();
        var run = await ShimV2Fixture.CallAsync(ShimV2Fixture.Name, "/", [], arguments);
        Assert.That(run.OutputOf(1), Is.Empty);
        Assert.That(run.Error, Does.StartWith($"{ShimV2Fixture.Name}: ").And.Contain(arguments[0].TrimStart('-')));
    }

    private static byte[] Bytes(string input) => input switch
    {
        "nothing" => [],
        "options" => s_options,
        "config" => s_config,
        _ => [0xFF, 0xFF, 0xFF, 0xFF],
    };

    private static BootstrapParams Parameters(ShimV2Fixture test, string id) => new()
    {
        InstanceId = id,
        Namespace = test.Namespace,
        ContainerdGrpcAddress = test.Daemon.GrpcAddress,
        ContainerdTtrpcAddress = test.Daemon.TtrpcAddress,
        ContainerdVersion = "2.3.0",
        Extensions = { new Extension { Value = ShimV2Fixture.Pack(new Options { BinaryName = "runc" }) } },
    };

    private static async Task AnswersAsync(ShimV2Fixture test, string id, TaskWire wire)
    {
        var address = ShimSocket.AddressOf(test.SocketOf(id));
        await using var shim = await TaskClient.ConnectAsync(address, wire);
        var pid = (int)(await shim.ConnectAsync(id)).ShimPid;
        Assert.That(HostProcess.Read(pid)?.CommandLine, Does.Contain($"-id {id}"));
        await shim.ShutdownAsync(id);
        await Poll.Until(() => !HostProcess.Runs(pid) && !File.Exists(test.SocketOf(id)), Poll.Deadline, "a shim without containers ends when it is told to");
    }
}
