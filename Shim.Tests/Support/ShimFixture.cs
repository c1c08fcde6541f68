using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Mono.Unix.Native;
using NUnit.Framework;
using Process = System.Diagnostics.Process;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Shim.Tests.Support;

/// <summary>
/// A real shim without a supervisor: `out/bin/shim serve` in a directory of its own. Disposing deletes its container, ends the
/// shim and fails when anything is left.
/// </summary>
public sealed class ShimFixture : IAsyncDisposable
{
    private readonly string _parent;
    private readonly string _cgroupPrefix;
    private readonly string _logPath;
    private Process? _process;

    private ShimFixture(string? log)
    {
        _parent = TestRun.NewDirectory("shim");
        _cgroupPrefix = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_parent)}";
        _logPath = log ?? Path.Combine(_parent, "stderr");
        WorkingDirectory = Directory.CreateDirectory(Path.Combine(_parent, "work")).FullName;
        Channel = UnixChannel.Open(Socket);
        Client = new ShimContract.ShimClient(Channel.Intercept(new DefaultDeadline(SupervisorFixture.CallDeadline)));
    }

    /// <summary>Where the shim runs; its socket and its state are in here.</summary>
    public string WorkingDirectory { get; }

    /// <summary>The socket's default path.</summary>
    public string Socket => Path.Combine(WorkingDirectory, "shim.sock");

    /// <summary>The channel to the shim.</summary>
    public GrpcChannel Channel { get; }

    /// <summary>A client of the shim.</summary>
    public ShimContract.ShimClient Client { get; }

    /// <summary>The shim's pid.</summary>
    public int ProcessId => (_process ?? throw new InvalidOperationException("the shim is not running")).Id;

    /// <summary>How it ended, once it has.</summary>
    public int ExitCode => (_process ?? throw new InvalidOperationException("the shim was not started")).ExitCode;

    /// <summary>Whether the shim runs.</summary>
    public bool IsRunning => _process is { HasExited: false };

    /// <summary>What the shim wrote to stderr and into its log.</summary>
    public string Log => string.Concat(
        new[] { _logPath, Path.Combine(WorkingDirectory, "shim.log") }.Where(File.Exists).Select(File.ReadAllText));

    /// <summary>Starts a shim and waits until it answers.</summary>
    /// <param name="runtime">The runtime's name or path; the shim's default when null.</param>
    /// <param name="arguments">More arguments of `serve`.</param>
    public static Task<ShimFixture> StartAsync(string? runtime = null, params string[] arguments) => StartLoggingToAsync(null, runtime, arguments);

    /// <summary>As <see cref="StartAsync"/>, with stderr in a file of the test's choice.</summary>
    public static async Task<ShimFixture> StartLoggingToAsync(string? log, string? runtime = null, params string[] arguments)
    {
        Machine.RequireContainers();
        var fixture = new ShimFixture(log);
        var start = new System.Diagnostics.ProcessStartInfo("/bin/sh")
        {
            ArgumentList =
            {
                "-c", "exec \"$0\" \"$@\" </dev/null >\"$TEST_STDERR\" 2>&1",
                Path.Combine(TestRun.Binaries, "shim"), "serve", "--runtime-root", Path.Combine(fixture._parent, "runc"),
            },
            WorkingDirectory = fixture.WorkingDirectory,
        };
        foreach (var argument in runtime is null ? arguments : ["--runtime", runtime, .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["TEST_STDERR"] = fixture._logPath;
        fixture._process = Process.Start(start) ?? throw new InvalidOperationException("the shim does not start");
        await Poll.For(
            async () => !fixture.IsRunning || (await fixture.Client.InfoAsync(new InfoRequest())).Pid == fixture.ProcessId,
            done => done,
            Poll.Deadline,
            "the shim answering");
        Assert.That(fixture.IsRunning, Is.True, () => $"the shim ended at once: {fixture.Log}");
        return fixture;
    }

    /// <summary>Begins a bundle whose files and cgroup belong to this shim.</summary>
    public BundleBuilder NewBundle() => new(Directory.CreateDirectory(Path.Combine(_parent, "bundles")).FullName, _cgroupPrefix);

    /// <summary>Where a file of this name would lie in the shim's working directory.</summary>
    public string PathOf(string name) => Path.Combine(WorkingDirectory, name);

    /// <summary>Makes a FIFO in the shim's working directory, and says where.</summary>
    public string MakeFifo(string name) => Fifo.Create(PathOf(name));

    /// <summary>SIGKILL; waits for the end. What the container leaves behind is the test's to clean up.</summary>
    public async Task KillHardAsync()
    {
        _ = Syscall.kill(ProcessId, Signum.SIGKILL);
        await _process!.WaitForExitAsync().WithinAsync(Poll.Deadline, "the shim's end after SIGKILL");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        var complaints = new List<string>();
        try
        {
            if (IsRunning)
            {
                await EndAsync();
            }
        }
        catch (Exception exception) when (exception is RpcException or AssertionException)
        {
            complaints.Add(exception.Message);
        }

        try
        {
            complaints.AddRange(await LeftAsync());
            if (complaints.Count > 0)
            {
                await TestContext.Out.WriteLineAsync(Log);
            }

            Assert.That(complaints, Is.Empty, "left behind, or could not be ended");
        }
        finally
        {
            Leaks.Sweep(_parent, _cgroupPrefix);
            Channel.Dispose();
            _process?.Dispose();
            Directory.Delete(_parent, recursive: true);
        }
    }

    private async Task EndAsync()
    {
        if ((await Client.StateAsync(new StateRequest())).Exists)
        {
            await Client.DeleteAsync(new DeleteRequest());
        }

        // A shim whose container was deleted may be on its way out already.
        using var call = Client.ShutdownAsync(new ShutdownRequest());
        _ = await Refusal.OutcomeAsync(call);
        await _process!.WaitForExitAsync().WithinAsync(Poll.Deadline, "the shim's end after Shutdown");
        Assert.That(_process.ExitCode, Is.Zero, "the shim's exit code");
    }

    private async Task<IReadOnlyList<string>> LeftAsync()
    {
        try
        {
            return await Poll.For(
                () => Leaks.Find(_parent, _cgroupPrefix), found => found.Count == 0, TimeSpan.FromSeconds(3), "nothing left behind");
        }
        catch (AssertionException)
        {
            return Leaks.Find(_parent, _cgroupPrefix);
        }
    }
}
