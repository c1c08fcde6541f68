using System.Text;
using Containerd;
using Containerd.V1;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Mono.Unix.Native;
using NUnit.Framework;
using Process = System.Diagnostics.Process;

namespace Shim.Tests.Support;

/// <summary>
/// A real supervisor on a root of its own: `out/bin/supervisor serve`. Restarting keeps the root. Disposing deletes all containers,
/// stops it and fails when anything is left: a process, a mount, a cgroup, a file.
/// </summary>
public sealed class SupervisorFixture : IAsyncDisposable
{
    /// <summary>For every unary call that does not set its own.</summary>
    public static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan s_startDeadline = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_stopDeadline = TimeSpan.FromSeconds(20);

    private readonly string _directory;
    private readonly SupervisorSettings _settings;
    private readonly StringBuilder _shimLogs = new();
    private Process? _process;
    private GrpcChannel? _channel;
    private ExecutionService.ExecutionServiceClient? _containers;
    private SupervisorService.SupervisorServiceClient? _control;

    private SupervisorFixture(SupervisorSettings settings)
    {
        _settings = settings;
        _directory = TestRun.NewDirectory("s");
        Root = settings.Root ?? Path.Combine(_directory, "root");
        RuntimeRoot = Path.Combine(_directory, "runc");
        Socket = Path.Combine(Root, "supervisor.sock");
        CgroupPrefix = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
    }

    /// <summary>The supervisor's root directory.</summary>
    public string Root { get; }

    /// <summary>Where the runtime keeps its state.</summary>
    public string RuntimeRoot { get; }

    /// <summary>The supervisor's socket.</summary>
    public string Socket { get; }

    /// <summary>What the cgroups of all containers of this supervisor begin with.</summary>
    public string CgroupPrefix { get; }

    /// <summary>What the supervisor wrote to stderr, over all its starts.</summary>
    public string LogPath => Path.Combine(_directory, "supervisor.log");

    /// <summary>The pid of the supervisor that runs now, as the machine counts.</summary>
    public int ProcessId => _settings.Pids is null ? Running.Id : HostProcess.Children(Running.Id).Single().Pid;

    /// <summary>Whether the supervisor runs.</summary>
    public bool IsRunning => _process is { HasExited: false };

    /// <summary>The thirteen.</summary>
    public ExecutionService.ExecutionServiceClient Containers => _containers ?? throw new InvalidOperationException("the supervisor is not running");

    /// <summary>What the thirteen lack.</summary>
    public SupervisorService.SupervisorServiceClient Control => _control ?? throw new InvalidOperationException("the supervisor is not running");

    /// <summary>The channel to the supervisor's socket.</summary>
    public GrpcChannel Channel => _channel ?? throw new InvalidOperationException("the supervisor is not running");

    // What entered the namespace waits for the supervisor there.
    private int[] OwnProcesses => !IsRunning ? [] : _settings.Pids is null ? [Running.Id] : [Running.Id, ProcessId];

    private Process Running => _process ?? throw new InvalidOperationException("the supervisor is not running");

    private string OutputPath => Path.Combine(_directory, "supervisor.out");

    /// <summary>Starts a supervisor and waits until it serves.</summary>
    public static async Task<SupervisorFixture> StartAsync(SupervisorSettings? settings = null)
    {
        Machine.RequireContainers();
        var fixture = new SupervisorFixture(settings ?? new SupervisorSettings());
        await fixture.StartAgainAsync();
        return fixture;
    }

    /// <summary>Begins a bundle whose files and cgroup belong to this supervisor.</summary>
    public BundleBuilder NewBundle() => new(Directory.CreateDirectory(Path.Combine(_directory, "bundles")).FullName, CgroupPrefix);

    /// <summary>A fresh directory that goes away with this supervisor.</summary>
    public string NewDirectory() => Directory.CreateDirectory(Path.Combine(_directory, "files", TestRun.NewName("d"))).FullName;

    /// <summary>Starts the supervisor on the same root, after a stop or a kill.</summary>
    public async Task StartAgainAsync() =>
        Assert.That(await TryStartAgainAsync(), Is.True, () => $"the supervisor ended at once: {Tail(Log)}");

    /// <summary>The same for one that may die over it; whether it serves.</summary>
    public async Task<bool> TryStartAgainAsync()
    {
        Assert.That(IsRunning, Is.False, "the supervisor runs already");
        _process?.Dispose();
        _process = Process.Start(StartInfo()) ?? throw new InvalidOperationException("the supervisor does not start");
        _channel = UnixChannel.Open(Socket);
        var calls = _channel.Intercept(new DefaultDeadline(CallDeadline));
        _containers = new ExecutionService.ExecutionServiceClient(calls);
        _control = new SupervisorService.SupervisorServiceClient(calls);
        var health = new Health.HealthClient(_channel);
        await Poll.For(
            async () =>
            {
                if (_process.HasExited)
                {
                    // Not an AssertionException: polling goes on after those of the probe only until its deadline.
                    return $"exited with {_process.ExitCode}: {Tail(Log)}";
                }

                var answer = await health.CheckAsync(new HealthCheckRequest(), deadline: DateTime.UtcNow.AddSeconds(5));
                return answer.Status.ToString();
            },
            state => state == "Serving" || state.StartsWith("exited", StringComparison.Ordinal),
            s_startDeadline,
            "the supervisor serving");
        return !_process.HasExited;
    }

    /// <summary>SIGTERM; waits for the end, which must be clean.</summary>
    public async Task StopGracefullyAsync()
    {
        var code = await EndAsync(Signum.SIGTERM);
        Assert.That(code, Is.Zero, () => $"the supervisor's exit code after SIGTERM\n{Tail(Log)}");
    }

    /// <summary>SIGKILL; waits for the end.</summary>
    public Task KillHardAsync() => EndAsync(Signum.SIGKILL);

    /// <summary>Stops and starts again on the same root.</summary>
    public async Task RestartAsync(bool hard = false)
    {
        if (hard)
        {
            await KillHardAsync();
        }
        else
        {
            await StopGracefullyAsync();
        }

        await StartAgainAsync();
    }

    /// <summary>What the supervisor has logged.</summary>
    public string Log => File.Exists(LogPath) ? File.ReadAllText(LogPath) : string.Empty;

    /// <summary>The logs of all shims that are there now, and of those that were when this was last asked.</summary>
    public string ShimLogs
    {
        get
        {
            var containers = Path.Combine(Root, "c");
            foreach (var log in Directory.Exists(containers) ? Directory.GetFiles(containers, "shim.log", SearchOption.AllDirectories) : [])
            {
                _shimLogs.AppendLine($"--- {log}").AppendLine(Tail(File.ReadAllText(log)));
            }

            return _shimLogs.ToString();
        }
    }

    /// <summary>Writes the end of all logs into the test's output.</summary>
    public void ShowLogs()
    {
        TestContext.Out.WriteLine($"--- {LogPath}\n{Tail(Log)}");
        TestContext.Out.WriteLine(ShimLogs);
    }

    /// <summary>Deletes every container and removes by force what could not be deleted; what went wrong, if anything.</summary>
    public async Task<IReadOnlyList<string>> DeleteAllAsync()
    {
        var complaints = new List<string>();
        var list = await Containers.ListContainersAsync(new ListContainersRequest());
        await Task.WhenAll(list.Containers.Select(async container =>
        {
            using var call = Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id });
            var outcome = await Refusal.OutcomeAsync(call);
            if (outcome.StatusCode is not (StatusCode.OK or StatusCode.NotFound))
            {
                lock (complaints)
                {
                    complaints.Add($"delete {container.Id}: {outcome}");
                }
            }
        }));
        return complaints;
    }

    /// <summary>Fails when anything is left of containers while the supervisor goes on.</summary>
    public async Task AssertNothingLeftAsync(IReadOnlyList<string>? complaints = null)
    {
        IReadOnlyList<string> left = [];
        try
        {
            left = await Poll.For(FindLeaks, found => found.Count == 0, TimeSpan.FromSeconds(3), "nothing left behind");
        }
        catch (AssertionException)
        {
            left = FindLeaks();
            ShowLogs();
            Leaks.Sweep(_directory, CgroupPrefix, OwnProcesses);
        }

        Assert.That((complaints ?? []).Concat(left), Is.Empty, "left behind, or could not be deleted");
    }

    /// <summary>Fails when a shim of this supervisor has a child that nobody collects.</summary>
    public async Task AssertNoZombiesAsync()
    {
        await Poll.For(
            () => HostProcess.Mentioning(Path.Combine(Root, "c"))
                .Where(process => process.CommandLine.Contains("shim", StringComparison.Ordinal))
                .SelectMany(shim => HostProcess.Children(shim.Pid))
                .Where(child => child.State == 'Z')
                .ToList(),
            zombies => zombies.Count == 0,
            TimeSpan.FromSeconds(5),
            "no zombie child of any shim");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        var complaints = new List<string>();
        try
        {
            if (!IsRunning && Directory.Exists(Path.Combine(Root, "c")) && Directory.EnumerateFileSystemEntries(Path.Combine(Root, "c")).Any())
            {
                await StartAgainAsync();
            }

            if (IsRunning)
            {
                complaints.AddRange(await DeleteAllAsync());
                await StopGracefullyAsync();
            }
        }
        catch (Exception exception) when (exception is RpcException or AssertionException)
        {
            complaints.Add(exception.Message);
            if (IsRunning)
            {
                await KillHardAsync();
            }
        }

        try
        {
            if (complaints.Count > 0)
            {
                ShowLogs();
            }

            await AssertNothingLeftAsync(complaints);
            Assert.That(File.ReadAllText(OutputPath), Is.Empty, "the supervisor's stdout");
        }
        finally
        {
            _channel?.Dispose();
            _process?.Dispose();
            Directory.Delete(_directory, recursive: true);
        }
    }

    private static string Tail(string text) => text.Length <= 8000 ? text : $"...{text[^8000..]}";

    private IReadOnlyList<string> FindLeaks()
    {
        var files = new[] { Path.Combine(Root, "c"), Path.Combine(Root, "s"), RuntimeRoot }
            .Where(Directory.Exists)
            .SelectMany(directory => Directory.EnumerateFileSystemEntries(directory))
            .Select(path => $"file {path}");
        return [.. Leaks.Find(_directory, CgroupPrefix, OwnProcesses), .. files];
    }

    private System.Diagnostics.ProcessStartInfo StartInfo()
    {
        // The shell only redirects and becomes the supervisor. Pipes to this process would be inherited and kept open by others.
        string[] arguments =
        [
            "-c", "exec \"$@\" </dev/null >>\"$TEST_STDOUT\" 2>>\"$TEST_STDERR\"", "sh",
            .. _settings.Pids?.Enter ?? [],
            Path.Combine(TestRun.Binaries, "supervisor"), "serve", "--root", Root, "--runtime-root", RuntimeRoot, "--log-level", "debug",
            .. _settings.Runtime is null ? [] : new[] { "--runtime", _settings.Runtime },
            .. _settings.Shim is null ? [] : new[] { "--shim", _settings.Shim },
            .. _settings.Arguments,
        ];
        var start = new System.Diagnostics.ProcessStartInfo("/bin/sh", arguments) { WorkingDirectory = "/" };
        start.Environment["TEST_STDOUT"] = OutputPath;
        start.Environment["TEST_STDERR"] = LogPath;
        foreach (var (name, value) in _settings.Environment)
        {
            start.Environment[name] = value;
        }

        return start;
    }

    private async Task<int> EndAsync(Signum signal)
    {
        _channel?.Dispose();
        (_channel, _containers, _control) = (null, null, null);
        if (IsRunning)
        {
            _ = Syscall.kill(ProcessId, signal);
        }

        await Running.WaitForExitAsync().WithinAsync(s_stopDeadline, $"the supervisor's end after {signal}");
        return Running.ExitCode;
    }
}
