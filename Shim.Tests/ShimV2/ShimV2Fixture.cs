using Containerd.Runc.V1;
using Containerd.TaskApi.V2;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Bootstrap.ShimV2;
using Shim.Interop;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2;

/// <summary>
/// Our shim as containerd calls it, without containerd: <c>start</c> and <c>delete</c> are run in bundles of the test's, and a <see cref="FakeDaemon"/> is told
/// of events. Disposing removes the containers through their shims, and fails when anything is left.
/// </summary>
internal sealed class ShimV2Fixture : IAsyncDisposable
{
    /// <summary>The name under which the shim serves ttrpc.</summary>
    internal const string Name = "containerd-shim-runc-v2-cs";

    /// <summary>The name under which it serves gRPC.</summary>
    internal const string GrpcName = "containerd-shim-runc_grpc-v2-cs";

    private const string UsualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    private readonly string _directory = TestRun.NewDirectory("shimv2");
    private readonly List<(string Id, string Address, TaskWire Wire)> _started = [];

    internal ShimV2Fixture()
    {
        Machine.RequireContainers();
        Namespace = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
        Daemon = new FakeDaemon(_directory);
    }

    /// <summary>Where shims that are started from now on find programs.</summary>
    internal string SearchPath { get; set; } = UsualPath;

    /// <summary>Who is told of events.</summary>
    internal FakeDaemon Daemon { get; }

    /// <summary>containerd's namespace.</summary>
    internal string Namespace { get; }

    /// <summary>Where a file of this name lies in the directory of the test.</summary>
    internal string PathOf(string name) => Path.Combine(_directory, name);

    /// <summary>Writes a bundle.</summary>
    internal Bundle NewBundle(Func<BundleBuilder, BundleBuilder>? configure = null)
    {
        var builder = new BundleBuilder(Directory.CreateDirectory(PathOf("bundles")).FullName, Namespace);
        return (configure?.Invoke(builder) ?? builder).Write();
    }

    /// <summary>The socket of the shim of a container or group.</summary>
    internal string SocketOf(string group) => ShimSocket.PathOf(Daemon.GrpcAddress, Namespace, group);

    /// <summary>Calls the shim in a bundle, as containerd does it: with its flags, and with nothing but its variables in the environment.</summary>
    internal static Task<ProgramRun> CallAsync(string name, string bundle, byte[] input, string[] arguments, params (string Name, string Value)[] environment)
    {
        var start = ProgramRun.Describe(Path.Combine(TestRun.Binaries, name), arguments);
        start.WorkingDirectory = bundle;
        start.Environment.Clear();
        start.Environment["PATH"] = UsualPath;
        foreach (var (variable, value) in environment)
        {
            start.Environment[variable] = value;
        }

        return ProgramRun.RunAsync(start, input);
    }

    /// <summary>Runs <c>start</c> for a container with the environment of containerd 1.6, and more.</summary>
    internal async Task<ProgramRun> StartAsync(string id, string bundle, TaskWire wire, byte[] input, params (string Name, string Value)[] environment)
    {
        var run = await CallAsync(
            wire == TaskWire.GrpcV3 ? GrpcName : Name,
            bundle,
            input,
            ["-namespace", Namespace, "-address", Daemon.GrpcAddress, "-publish-binary", "/usr/bin/containerd", "-id", id, "start"],
            [("PATH", SearchPath), ("TTRPC_ADDRESS", Daemon.TtrpcAddress), ("GRPC_ADDRESS", Daemon.GrpcAddress), ("NAMESPACE", Namespace), .. environment]);
        if (run.ExitCode == 0)
        {
            Started(id, ShimSocket.AddressOf(SocketOf(id)), wire);
        }

        return run;
    }

    /// <summary>A shim was started that the fixture has to end.</summary>
    internal void Started(string id, string address, TaskWire wire) => _started.Add((id, address, wire));

    /// <summary>Runs <c>delete</c> for a container; returns what it printed.</summary>
    internal async Task<DeleteResponse> DeleteAsync(string id, string bundle)
    {
        var run = await CallAsync(
            Name, "/", [], ["-namespace", Namespace, "-address", Daemon.GrpcAddress, "-id", id, "-bundle", bundle, "delete"]);
        _ = run.OutputOf();
        return DeleteResponse.Parser.ParseFrom(run.Bytes);
    }

    /// <summary>Starts a shim and creates a container in it.</summary>
    internal async Task<TestTask> CreateAsync(
        string script = "sleep 1000000",
        TaskWire wire = TaskWire.TtrpcV2,
        Action<CreateTaskRequest>? request = null,
        Options? options = null,
        Func<BundleBuilder, BundleBuilder>? bundle = null)
    {
        var id = TestRun.NewName("c");
        var made = NewBundle(builder => bundle?.Invoke(builder.Script(script)) ?? builder.Script(script));
        var input = options is null ? [] : Pack(options).ToByteArray();
        (await StartAsync(id, made.Path, wire, input, wire == TaskWire.GrpcV3 ? [("MAX_SHIM_VERSION", "3")] : [])).OutputOf();
        var task = new TestTask(id, made, await TaskClient.ConnectAsync(ShimSocket.AddressOf(SocketOf(id)), wire));
        try
        {
            var create = new CreateTaskRequest { Id = id, Bundle = made.Path };
            if (options is not null)
            {
                create.Options = Pack(options);
            }

            request?.Invoke(create);
            task.Pid = await task.Shim.CreateAsync(create);
            task.ShimPid = (int)(await task.Shim.ConnectAsync(id)).ShimPid;
            return task;
        }
        catch
        {
            await task.DisposeAsync();
            throw;
        }
    }

    /// <summary>As <see cref="CreateAsync"/>, and the container runs.</summary>
    internal async Task<TestTask> RunAsync(
        string script = "sleep 1000000",
        TaskWire wire = TaskWire.TtrpcV2,
        Action<CreateTaskRequest>? request = null,
        Options? options = null,
        Func<BundleBuilder, BundleBuilder>? bundle = null)
    {
        var task = await CreateAsync(script, wire, request, options, bundle);
        Assert.That(await task.Shim.StartAsync(task.Id), Is.EqualTo(task.Pid));
        return task;
    }

    /// <summary>A message with its name, as containerd's clients pack it.</summary>
    internal static Any Pack(IMessage message) => new() { TypeUrl = message.Descriptor.FullName, Value = message.ToByteString() };

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        var complaints = new List<string>();

        // A shim that ends waits a while for a daemon that is away.
        Daemon.Refusing = null;
        Daemon.StartTtrpc();
        foreach (var (id, address, wire) in _started.Where(started => UnixSockets.IsServed(ShimSocket.PathOf(started.Address))))
        {
            try
            {
                await EndAsync(id, address, wire);
            }
            catch (RpcException e)
            {
                complaints.Add($"{id}: {e.Status}");
            }
        }

        try
        {
            complaints.AddRange(await LeftAsync());
            Assert.That(complaints, Is.Empty, "left behind, or could not be removed");
        }
        finally
        {
            Leaks.Sweep(_directory, Namespace);
            foreach (var (_, address, _) in _started)
            {
                // A test may have had its own directory for it.
                if (File.Exists(ShimSocket.PathOf(address)))
                {
                    File.Delete(ShimSocket.PathOf(address));
                }
            }

            if (Directory.Exists($"/run/containerd/runc/{Namespace}"))
            {
                Directory.Delete($"/run/containerd/runc/{Namespace}", recursive: true);
            }

            await Daemon.DisposeAsync();
            Directory.Delete(_directory, recursive: true);
        }
    }

    private static async Task EndAsync(string id, string address, TaskWire wire)
    {
        await using var shim = await TaskClient.ConnectAsync(address, wire);
        try
        {
            if ((await shim.StateAsync(id)).Status is Containerd.TaskApi.Status.Running or Containerd.TaskApi.Status.Paused)
            {
                await shim.KillAsync(id, 9, all: true);
                _ = await shim.WaitAsync(id);
            }

            _ = await shim.DeleteAsync(id);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            // The test has deleted it, or it was never made.
        }

        await shim.ShutdownAsync(id);
    }

    private IEnumerable<string> Left() =>
    [
        .. Leaks.Find(_directory, Namespace),
        .. _started.Select(started => ShimSocket.PathOf(started.Address)).Where(File.Exists).Select(path => $"socket {path}"),
        .. Directory.Exists($"/run/containerd/runc/{Namespace}") ? Directory.GetFileSystemEntries($"/run/containerd/runc/{Namespace}") : [],
    ];

    private async Task<IReadOnlyList<string>> LeftAsync()
    {
        try
        {
            return await Poll.For(() => Left().ToList(), left => left.Count == 0, TimeSpan.FromSeconds(8), "nothing left behind");
        }
        catch (AssertionException)
        {
            return [.. Left()];
        }
    }
}

/// <summary>A container in a shim, and a client of that shim.</summary>
/// <param name="Id">The container's id.</param>
/// <param name="Bundle">What it was made from.</param>
/// <param name="Shim">Talks to its shim.</param>
internal sealed record TestTask(string Id, Bundle Bundle, TaskClient Shim) : IAsyncDisposable
{
    /// <summary>The init's pid.</summary>
    internal int Pid { get; set; }

    /// <summary>The shim's pid.</summary>
    internal int ShimPid { get; set; }

    /// <summary>SIGKILL for the shim; waits for its end.</summary>
    internal async Task KillShimAsync()
    {
        Assert.That(Syscall.kill(ShimPid, Signum.SIGKILL), Is.Zero);
        await Poll.Until(() => !HostProcess.Runs(ShimPid), Poll.Deadline, "the shim's end after SIGKILL");
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Shim.DisposeAsync();
}
