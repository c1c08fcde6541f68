using System.Globalization;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.ShimV2.Cri.V1;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Cri;

/// <summary>What kubelet does with containerd, with our shim as the runtime.</summary>
public sealed class PodTests
{
    private CriNode _node = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _node = await CriNode.StartAsync();

    [OneTimeTearDown]
    public async Task EndAsync()
    {
        if (_node is not null)
        {
            await _node.DisposeAsync();
        }
    }

    [Test]
    public async Task TwoContainers_ShareTheShimOfTheirPod()
    {
        var pod = await _node.RunPodAsync();
        var first = await pod.RunAsync("first", "sleep 1000000");
        var second = await pod.RunAsync("second", "sleep 1000000");
        var containerd = _node.Containerd;
        var shim = await containerd.ShimPidOfAsync(pod.Id, CriNode.KubernetesNamespace);
        Assert.That(await containerd.ShimPidOfAsync(first, CriNode.KubernetesNamespace), Is.EqualTo(shim));
        Assert.That(await containerd.ShimPidOfAsync(second, CriNode.KubernetesNamespace), Is.EqualTo(shim));
        Assert.That(
            HostProcess.All().Count(process => process.CommandLine.Contains($"-id {pod.Id}", StringComparison.Ordinal)
                || process.CommandLine.Contains($"-id {first}", StringComparison.Ordinal)),
            Is.EqualTo(1));
        await _node.RemovePodAsync(pod.Id);
        await Poll.Until(() => !HostProcess.Runs(shim), Poll.Deadline, "the end of the shim");
    }

    [Test]
    public async Task ExecSync_OutputAndExitCode()
    {
        var pod = await _node.RunPodAsync();
        var id = await pod.RunAsync("main", "sleep 1000000");
        var answer = await pod.ExecAsync(id, "echo out; echo err >&2; exit 7");
        Assert.That((answer.ExitCode, answer.Stdout.ToStringUtf8(), answer.Stderr.ToStringUtf8()), Is.EqualTo((7, "out\n", "err\n")));

        // Many at once, as with probes.
        var codes = await Task.WhenAll(Enumerable.Range(0, 10).Select(async i => (await pod.ExecAsync(id, $"exit {i}")).ExitCode));
        Assert.That(codes, Is.EqualTo(Enumerable.Range(0, 10)));
        await _node.RemovePodAsync(pod.Id);
    }

    [Test]
    public async Task Logs_AreInTheFormatOfKubernetes()
    {
        var pod = await _node.RunPodAsync();
        var id = await pod.RunAsync("main", "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three");
        _ = await pod.EndOfAsync(id);
        var log = await Poll.For(() => pod.Log("main"), records => records.Count == 3, Poll.Deadline, "three records");
        Assert.That(
            log.Select(record => record.Split(' ', 2)[1]), Is.EqualTo(["stdout F one", "stderr F two", "stdout P three"]));
        Assert.That(log.Select(record => DateTimeOffset.Parse(record.Split(' ')[0], CultureInfo.InvariantCulture)), Is.Ordered);
        await _node.RemovePodAsync(pod.Id);
    }

    [TestCase("exit 0", 0, "Completed", 0)]
    [TestCase("exit 3", 3, "Error", 0)]
    [TestCase("sh -c 'kill -TERM $$'", 143, "Error", 0)]
    [TestCase("tail /dev/zero", 137, "OOMKilled", 32 << 20)]
    public async Task End_StatusAndReason(string script, int status, string reason, long memory)
    {
        var pod = await _node.RunPodAsync();
        var ended = await pod.EndOfAsync(await pod.RunAsync("main", script, memory));
        Assert.That((ended.ExitCode, ended.Reason), Is.EqualTo((status, reason)), ended.Message);
        Assert.That(ended.FinishedAt, Is.Positive);
        await _node.RemovePodAsync(pod.Id);
    }

    [Test]
    public async Task Stats_AreThoseOfTheCgroup()
    {
        var pod = await _node.RunPodAsync();
        var id = await pod.RunAsync("main", "head -c 8000000 /dev/zero >/dev/shm/x; echo ready; sleep 1000000");
        await Poll.Until(() => pod.Log("main").Count > 0, Poll.Deadline, "the container has its memory");
        var stats = (await _node.Runtime.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = id })).Stats;
        Assert.That(stats.Memory.WorkingSetBytes.Value, Is.GreaterThan(7_000_000ul));
        Assert.That(stats.Cpu.UsageCoreNanoSeconds.Value, Is.Positive);
        await _node.RemovePodAsync(pod.Id);
    }

    [Test]
    public async Task StopContainer_AsksFirst_AndKillsThen()
    {
        var pod = await _node.RunPodAsync();
        var polite = await pod.RunAsync("polite", "trap 'exit 5' TERM; while true; do sleep 0.05; done");
        var deaf = await pod.RunAsync("deaf", "trap '' TERM; while true; do sleep 0.05; done");
        _ = await _node.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = polite, Timeout = 30 });
        _ = await _node.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = deaf, Timeout = 1 });
        Assert.That((await pod.StatusAsync(polite)).ExitCode, Is.EqualTo(5));
        Assert.That((await pod.StatusAsync(deaf)).ExitCode, Is.EqualTo(137));
        await _node.RemovePodAsync(pod.Id);
    }

    [Test]
    public async Task Removal_LeavesNothing()
    {
        var pod = await _node.RunPodAsync();
        var id = await pod.RunAsync("main", "sleep 1000000 & sleep 1000000");
        var cgroup = HostProcess.ReadFile(await PidOfAsync(id), "cgroup")!;
        Assert.That(cgroup, Does.Contain($"/{_node.Containerd.Namespace}/{id}"));
        await _node.RemovePodAsync(pod.Id);
        Assert.Multiple(() =>
        {
            Assert.That(HostProcess.Mentioning(id), Is.Empty);
            Assert.That(File.ReadAllText("/proc/self/mountinfo"), Does.Not.Contain(id).And.Not.Contain(pod.Id));
            Assert.That(Directory.Exists(_node.Containerd.BundleOf(id, CriNode.KubernetesNamespace)), Is.False);
        });
        await TaskClient.RefusedAsync(pod.StatusAsync(id), StatusCode.NotFound);
    }

    [TestCase(Signum.SIGTERM)]
    [TestCase(Signum.SIGKILL)]
    public async Task ContainerdRestarts_ThePodGoesOn_AndAnExitMeanwhileIsKnown(Signum signal)
    {
        var pod = await _node.RunPodAsync();
        var staying = await pod.RunAsync("staying", "sleep 1000000");
        var ending = await pod.RunAsync("ending", "trap 'exit 9' TERM; while true; do sleep 0.05; done");
        var pid = await PidOfAsync(ending);
        await (signal == Signum.SIGKILL ? _node.Containerd.KillDaemonAsync() : _node.Containerd.StopDaemonAsync());
        _ = Syscall.kill(pid, Signum.SIGTERM);
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of a container");
        await _node.Containerd.StartDaemonAsync();
        await Poll.Until(
            async () => (await _node.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = pod.Id })).Status.State == PodSandboxState.SandboxReady,
            Poll.Deadline,
            "the pod is there");
        Assert.That((await pod.StatusAsync(staying)).State, Is.EqualTo(ContainerState.ContainerRunning));
        Assert.That((await pod.EndOfAsync(ending)).ExitCode, Is.EqualTo(9));
        Assert.That((await pod.ExecAsync(staying, "exit 4")).ExitCode, Is.EqualTo(4));
        await _node.RemovePodAsync(pod.Id);
    }

    private async Task<int> PidOfAsync(string id)
    {
        await using var shim = await _node.Containerd.ShimOfAsync(id, CriNode.KubernetesNamespace);
        return (int)(await shim.ConnectAsync(id)).TaskPid;
    }
}
