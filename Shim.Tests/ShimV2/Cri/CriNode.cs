using Shim.Tests.ShimV2.Cri.V1;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Cri;

/// <summary>
/// A node as kubelet sees it: a containerd with the CRI plugin, whose default runtime is our shim, and an image. Pods are in the host's network, so that
/// none has to be set up.
/// </summary>
internal sealed class CriNode : IAsyncDisposable
{
    /// <summary>The namespace that the CRI plugin uses.</summary>
    internal const string KubernetesNamespace = "k8s.io";

    private readonly List<string> _pods = [];

    private CriNode(TestContainerd containerd)
    {
        Containerd = containerd;
        Runtime = new RuntimeService.RuntimeServiceClient(containerd.Channel);
    }

    /// <summary>The containerd of this node.</summary>
    internal TestContainerd Containerd { get; }

    /// <summary>What kubelet calls.</summary>
    internal RuntimeService.RuntimeServiceClient Runtime { get; }

    private static DateTime Soon => DateTime.UtcNow.AddSeconds(60);

    /// <summary>Starts the node and imports the image.</summary>
    internal static async Task<CriNode> StartAsync()
    {
        var containerd = await TestContainerd.StartAsync($"""
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{TestImage.Name}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "native"
                default_runtime_name = "cs"
                [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.cs]
                  runtime_type = "{TestContainerd.Runtime}"
            """);
        var node = new CriNode(containerd);
        try
        {
            var archive = containerd.PathOf("image.tar");
            TestImage.Write(archive);
            (await containerd.CtrAsync("--namespace", KubernetesNamespace, "images", "import", "--snapshotter", "native", archive)).OutputOf();
            var images = new ImageService.ImageServiceClient(containerd.Channel);
            await Poll.Until(
                async () => (await images.ListImagesAsync(new ListImagesRequest(), deadline: Soon)).Images.Any(image => image.RepoTags.Contains(TestImage.Name)),
                Poll.Deadline,
                "the CRI plugin knows the image");
            return node;
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs an empty pod.</summary>
    internal async Task<TestPod> RunPodAsync()
    {
        var name = TestRun.NewName("pod");
        var config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = name, Uid = name, Namespace = "default" },
            LogDirectory = Containerd.PathOf($"logs-{name}"),
            Linux = new LinuxPodSandboxConfig
            {
                CgroupParent = $"/{Containerd.Namespace}",
                SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = new NamespaceOption { Network = NamespaceMode.Node } },
            },
        };
        Directory.CreateDirectory(config.LogDirectory);
        var id = (await Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = config }, deadline: Soon)).PodSandboxId;
        _pods.Add(Containerd.Known(id));
        return new TestPod(this, id, config);
    }

    /// <summary>Ends a pod and its containers, and removes them.</summary>
    internal async Task RemovePodAsync(string id)
    {
        _ = await Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = id }, deadline: Soon);
        _ = await Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = id }, deadline: Soon);
        _pods.Remove(id);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            foreach (var id in _pods.ToList())
            {
                await RemovePodAsync(id);
            }
        }
        finally
        {
            await Containerd.DisposeAsync();
        }
    }
}

/// <summary>A pod on the node.</summary>
/// <param name="Node">Where it runs.</param>
/// <param name="Id">The sandbox's id.</param>
/// <param name="Config">What it was made from.</param>
internal sealed record TestPod(CriNode Node, string Id, PodSandboxConfig Config)
{
    private static DateTime Soon => DateTime.UtcNow.AddSeconds(60);

    /// <summary>Creates and starts a container that runs a shell script; returns its id.</summary>
    internal async Task<string> RunAsync(string name, string script, long memoryLimit = 0)
    {
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = name },
            Image = new ImageSpec { Image = TestImage.Name },
            Command = { "/bin/sh", "-c", script },
            LogPath = $"{name}.log",
            Linux = new LinuxContainerConfig
            {
                Resources = new LinuxContainerResources { MemoryLimitInBytes = memoryLimit },
                SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = Config.Linux.SecurityContext.NamespaceOptions },
            },
        };
        var id = (await Node.Runtime.CreateContainerAsync(
            new CreateContainerRequest { PodSandboxId = Id, Config = config, SandboxConfig = Config }, deadline: Soon)).ContainerId;
        _ = Node.Containerd.Known(id);
        _ = await Node.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, deadline: Soon);
        return id;
    }

    /// <summary>How kubelet sees a container.</summary>
    internal async Task<ContainerStatus> StatusAsync(string id) =>
        (await Node.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id }, deadline: Soon)).Status;

    /// <summary>Waits until a container has ended.</summary>
    internal Task<ContainerStatus> EndOfAsync(string id) =>
        Poll.For(() => StatusAsync(id), status => status.State == ContainerState.ContainerExited, Poll.Deadline, $"the end of container {id}");

    /// <summary>Runs a shell script in a container.</summary>
    internal async Task<ExecSyncResponse> ExecAsync(string id, string script) =>
        await Node.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = id, Cmd = { "sh", "-c", script }, Timeout = 30 }, deadline: Soon);

    /// <summary>The lines of the log that containerd's CRI plugin has written for a container: time, stream, flag and text.</summary>
    internal IReadOnlyList<string> Log(string name) => File.ReadAllLines(Path.Combine(Config.LogDirectory, $"{name}.log"));
}
