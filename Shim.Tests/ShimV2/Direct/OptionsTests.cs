using Containerd.Runc.V1;
using Google.Protobuf;
using NUnit.Framework;
using Shim.Tests.FakeRunc;
using RuntimeConfig = Containerd.RuntimeOptions.V1.Options;

namespace Shim.Tests.ShimV2.Direct;

/// <summary>The runtime is called as the options of a request say, also when its container must be removed without a shim.</summary>
public sealed class OptionsTests
{
    [Test]
    public async Task BinaryRootAndFlags_ReachTheRuntime()
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        var root = test.PathOf("runc");
        await using var task = await test.RunAsync("exit 0", options: new Options { BinaryName = runtime.Path, Root = root, NoPivotRoot = true, NoNewKeyring = true });
        _ = await task.Shim.WaitAsync(task.Id);
        Assert.That(Directory.Exists($"{root}/{test.Namespace}/{task.Id}"), Is.True);
        _ = await task.Shim.DeleteAsync(task.Id);
        var create = runtime.Calls.Single(call => call.StartsWith("create ", StringComparison.Ordinal));
        Assert.That(create, Does.Contain($"--root {root}/{test.Namespace} ").And.Contain(" --no-pivot ").And.Contain(" --no-new-keyring "));
        Assert.That(runtime.Calls, Has.All.Contains($"--root {root}/{test.Namespace} ").And.None.Contains("--systemd-cgroup"));
        Assert.That(runtime.CountOf("delete"), Is.EqualTo(1));
    }

    [Test]
    public async Task LogAndPidFile_AreWhereProgramsAroundRuncLookForThem()
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("exit 0", options: new Options { BinaryName = runtime.Path });
        _ = await task.Shim.WaitAsync(task.Id);
        var create = runtime.Calls.Single(call => call.StartsWith("create ", StringComparison.Ordinal));
        Assert.That(create, Does.Match("--root [^ ]+ --log [^ ]+ ").And.Match(" --bundle (?<bundle>[^ ]+) --pid-file \\k<bundle>/init\\.pid "));
    }

    [Test]
    public async Task SystemdCgroup_ReachesEveryCall_EvenIfTheMachineHasNoSystemd()
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        runtime.Set("fail:create:1");
        await TaskClient.RefusedAsync(
            test.CreateAsync(options: new Options { BinaryName = runtime.Path, SystemdCgroup = true }), Grpc.Core.StatusCode.Unknown, "told to fail");
        Assert.That(runtime.Calls, Is.Not.Empty.And.All.Contains("--systemd-cgroup"));
    }

    [Test]
    public async Task ConfigurationAsToml_IsUnderstood()
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        var config = new RuntimeConfig
        {
            TypeUrl = "containerd.runc.v1.Options",
            ConfigBody = ByteString.CopyFromUtf8($"BinaryName = \"{runtime.Path}\" # ours\nNoPivotRoot = true\nSystemdCgroup = false\n"),
        };
        await using var task = await test.RunAsync("exit 0", request: request => request.Options = ShimV2Fixture.Pack(config));
        _ = await task.Shim.WaitAsync(task.Id);
        Assert.That(runtime.Calls.Single(call => call.StartsWith("create ", StringComparison.Ordinal)), Does.Contain(" --no-pivot "));
    }

    [Test]
    public async Task PlacesOfCriu_AreThoseOfACheckpointThatNamesNone()
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        var (image, work) = (test.PathOf("image"), test.PathOf("work"));
        await using var task = await test.RunAsync(options: new Options { BinaryName = runtime.Path, CriuImagePath = image, CriuWorkPath = work });
        runtime.Set("fail:checkpoint:1");
        await TaskClient.RefusedAsync(task.Shim.CheckpointAsync(task.Id, ""), Grpc.Core.StatusCode.FailedPrecondition, "told to fail");
        Assert.That(
            runtime.Calls.Single(call => call.StartsWith("checkpoint ", StringComparison.Ordinal)),
            Does.Contain($" --image-path {image} ").And.Contain($" --work-path {work} "));
    }

    [Test]
    public async Task UnknownOptions_Refused()
    {
        await using var test = new ShimV2Fixture();
        await TaskClient.RefusedAsync(
            test.CreateAsync(request: request => request.Options = new() { TypeUrl = "some.other.Options" }), Grpc.Core.StatusCode.InvalidArgument, "some.other.Options");
    }

    [Test]
    public async Task StreamOwner_HasThePipesOfALogger()
    {
        await using var test = new ShimV2Fixture();
        var (logger, output) = (test.PathOf("logger.sh"), test.PathOf("output"));
        await File.WriteAllTextAsync(logger, "#!/bin/sh\nexec 5>&-\ncat <&3 >$2\n");
        File.SetUnixFileMode(logger, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await using var task = await test.RunAsync(
            "stat -L -c '%u:%g' /proc/self/fd/1", options: new Options { IoUid = 1234, IoGid = 2345 }, request: request => request.Stdout = $"binary://{logger}?to={output}");
        _ = await task.Shim.WaitAsync(task.Id);
        _ = await task.Shim.DeleteAsync(task.Id);
        Assert.That(await File.ReadAllTextAsync(output), Is.EqualTo("0:2345\n"), "runc gives them to the user of the process, and leaves the group");
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Delete_AfterAKill_UsesTheSameRuntimeAndRoot(bool ofOlderShim)
    {
        using var runtime = new FakeRuntime();
        await using var test = new ShimV2Fixture();
        var root = test.PathOf("runc");
        await using var task = await test.RunAsync(options: new Options { BinaryName = runtime.Path, Root = root });
        if (ofOlderShim)
        {
            await File.WriteAllTextAsync(
                Path.Combine(task.Bundle.Path, "shim-options.json"), $$"""{"binary":"{{runtime.Path}}","root":"{{root}}","systemdCgroup":false}""");
        }

        await task.KillShimAsync();
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(137u));
        Assert.That(runtime.CountOf("delete"), Is.EqualTo(1));
        Assert.That(Directory.Exists($"{root}/{test.Namespace}/{task.Id}"), Is.False);
    }
}
