using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Containerd;
using Containerd.Services.Events.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Bootstrap.ShimV2;
using Shim.Tests.Cli;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2;

/// <summary>
/// A real containerd of the test's own: with its own root, state and address, a namespace that nobody else uses, and our shims first in its path. Disposing
/// removes what the test has left in it by containerd's own means, ends it, and fails when anything is left on the machine.
/// </summary>
internal sealed partial class TestContainerd : IAsyncDisposable
{
    /// <summary>How containerd calls our shim.</summary>
    internal const string Runtime = "io.containerd.runc.v2-cs";

    private static readonly string[] s_withoutCri = ["io.containerd.grpc.v1.cri"];

    private readonly string _directory = TestRun.NewDirectory("containerd");
    private readonly List<string> _ids = [];
    private readonly List<string> _namespaces;
    private Process? _daemon;

    private TestContainerd(bool cri)
    {
        Namespace = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
        _namespaces = cri ? [Namespace, "k8s.io"] : [Namespace];
        Channel = UnixChannel.Open(Address);
    }

    /// <summary>The namespace of the test's containers.</summary>
    internal string Namespace { get; }

    /// <summary>containerd's socket, without the scheme.</summary>
    internal string Address => PathOf("c.sock");

    /// <summary>A channel to containerd.</summary>
    internal GrpcChannel Channel { get; }

    /// <summary>containerd's pid.</summary>
    internal int Pid => _daemon!.Id;

    /// <summary>Everything it has logged, the shims' lines included.</summary>
    internal string Log => File.Exists(PathOf("log")) ? File.ReadAllText(PathOf("log")) : "";

    /// <summary>Starts it. With <paramref name="cri"/> it serves Kubernetes' interface too, by that section of the configuration.</summary>
    internal static async Task<TestContainerd> StartAsync(string? cri = null)
    {
        Machine.RequireContainers();
        Machine.RequireProgram("containerd");
        var containerd = new TestContainerd(cri is not null);
        await File.WriteAllTextAsync(containerd.PathOf("config.toml"), containerd.Configuration(cri));
        await containerd.StartDaemonAsync();
        return containerd;
    }

    /// <summary>Where a file of this name lies in the directory of the test.</summary>
    internal string PathOf(string name) => Path.Combine(_directory, name);

    /// <summary>The bundle that containerd makes for a container.</summary>
    internal string BundleOf(string id, string? nameSpace = null) => Path.Combine(PathOf("state"), "io.containerd.runtime.v2.task", nameSpace ?? Namespace, id);

    /// <summary>A name for a container; what is left of it on the machine is looked for in the end.</summary>
    internal string NewId() => Known(TestRun.NewName("c"));

    /// <summary>A container or group of that name may have a socket.</summary>
    internal string Known(string id)
    {
        _ids.Add(id);
        return id;
    }

    /// <summary>Starts the daemon, for the first time or again, and waits until it answers.</summary>
    internal async Task StartDaemonAsync()
    {
        // Output goes into a file: a pipe of ours would be another thing that a stopped test runner can fill.
        var start = new ProcessStartInfo("/bin/sh", ["-c", "exec \"$0\" -c \"$1\" >>\"$2\" 2>&1 </dev/null", Machine.FindInPath("containerd")!, PathOf("config.toml"), PathOf("log")])
        {
            WorkingDirectory = _directory,
        };
        start.Environment["PATH"] = $"{TestRun.Binaries}:{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin";
        _daemon = Process.Start(start) ?? throw new InvalidOperationException("containerd does not start");
        await Poll.Until(
            async () => _daemon.HasExited || (await CtrAsync("version")).ExitCode == 0, Poll.Deadline, $"containerd answering; its log is in {PathOf("log")}");
        Assert.That(_daemon.HasExited, Is.False, () => Log);
    }

    /// <summary>SIGTERM, as at an upgrade: containers go on.</summary>
    internal Task StopDaemonAsync() => EndDaemonAsync(Signum.SIGTERM);

    /// <summary>SIGKILL.</summary>
    internal Task KillDaemonAsync() => EndDaemonAsync(Signum.SIGKILL);

    /// <summary>Sends it any signal.</summary>
    internal void Signal(Signum signal) => Assert.That(Syscall.kill(Pid, signal), Is.Zero);

    /// <summary>Calls ctr in the test's namespace.</summary>
    internal Task<ProgramRun> CtrAsync(params string[] arguments) => CtrWithInputAsync("", arguments);

    /// <summary>As above, with a text on stdin.</summary>
    internal Task<ProgramRun> CtrWithInputAsync(string input, params string[] arguments) =>
        ProgramRun.RunAsync(ProgramRun.Describe("ctr", CtrArguments(arguments)), Encoding.UTF8.GetBytes(input));

    /// <summary>Calls ctr on a terminal.</summary>
    internal CliTerminal CtrOnTerminal(params string[] arguments)
    {
        // For reading and writing: ctr takes the first stream that is a terminal for both.
        string[] command = ["ctr", .. CtrArguments(arguments)];
        return new CliTerminal(terminal => Process.Start(ProgramRun.Describe(
            "/usr/bin/setsid", ["/bin/sh", "-c", "exec <>\"$0\" >&0; exec \"$@\"", terminal, .. command]))!);
    }

    /// <summary>The arguments of <c>ctr run</c> for a container with busybox.</summary>
    internal string[] RunArguments(string id, string[] options, params string[] command) =>
        ["run", "--runtime", Runtime, "--rootfs", "--read-only", "--env", "PATH=/bin", "--fifo-dir", PathOf("fifos"), .. options, BusyboxRootfs.Path, id, .. command];

    /// <summary>Runs a container in the foreground and removes it.</summary>
    internal Task<ProgramRun> RunAsync(string id, string script, params string[] options) => CtrAsync(RunArguments(id, ["--rm", .. options], "sh", "-c", script));

    /// <summary>Starts a container in the background; returns the init's pid.</summary>
    internal async Task<int> RunDetachedAsync(string id, string script = "sleep 1000000", params string[] options)
    {
        (await CtrAsync(RunArguments(id, ["--detach", "--null-io", .. options], "sh", "-c", script))).OutputOf();
        return (await TaskAsync(id))!.Value.Pid;
    }

    /// <summary>Runs a process in a container in the foreground.</summary>
    internal Task<ProgramRun> ExecAsync(string id, string exec, string script) => CtrAsync(ExecArguments(id, exec, [], "sh", "-c", script));

    /// <summary>The arguments of <c>ctr task exec</c>.</summary>
    internal string[] ExecArguments(string id, string exec, string[] options, params string[] command) =>
        ["task", "exec", "--exec-id", exec, "--fifo-dir", PathOf("fifos"), .. options, id, .. command];

    /// <summary>Pid and state of a task as containerd sees it; null when it has none.</summary>
    internal async Task<(int Pid, string Status)?> TaskAsync(string id)
    {
        var line = (await CtrAsync("task", "ls")).OutputOf().Split('\n').FirstOrDefault(line => line.StartsWith($"{id} ", StringComparison.Ordinal));
        var fields = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields is null ? null : (int.Parse(fields[1], CultureInfo.InvariantCulture), fields[2]);
    }

    /// <summary>Deletes an ended task; returns its exit status.</summary>
    internal async Task<int> DeleteTaskAsync(string id)
    {
        var run = await CtrAsync("task", "rm", id);
        _ = run.OutputOf();
        return NonZeroStatus.Match(run.Error) is { Success: true } told ? int.Parse(told.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;
    }

    /// <summary>Removes a container and its task, which must be possible; the task is killed if it runs.</summary>
    internal async Task RemoveAsync(string id)
    {
        if (await TaskAsync(id) is not null)
        {
            (await CtrAsync("task", "rm", "--force", id)).OutputOf();
        }

        (await CtrAsync("container", "rm", id)).OutputOf();
    }

    /// <summary>The address of a container's shim, as it lies in the bundle.</summary>
    internal string ShimAddressOf(string id, string? nameSpace = null) => File.ReadAllText(Path.Combine(BundleOf(id, nameSpace), "address"));

    /// <summary>Talks to a container's shim past containerd.</summary>
    internal Task<TaskClient> ShimOfAsync(string id, string? nameSpace = null) => TaskClient.ConnectAsync(ShimAddressOf(id, nameSpace));

    /// <summary>The pid of a container's shim, as it says itself.</summary>
    internal async Task<int> ShimPidOfAsync(string id, string? nameSpace = null)
    {
        await using var shim = await ShimOfAsync(id, nameSpace);
        return (int)(await shim.ConnectAsync(id)).ShimPid;
    }

    /// <summary>Begins to listen to containerd's events; all from now on are heard.</summary>
    internal async Task<TaskEventLog> ListenAsync()
    {
        var client = new Events.EventsClient(Channel);
        var log = new TaskEventLog();
        var stream = client.Subscribe(new SubscribeRequest());
        var heard = new TaskCompletionSource();
        _ = Task.Run(async () =>
        {
            try
            {
                await foreach (var envelope in stream.ResponseStream.ReadAllAsync())
                {
                    heard.TrySetResult();
                    log.Add(envelope);
                }
            }
            catch (RpcException)
            {
                // The daemon was stopped, or the test has ended.
            }
        });

        // A subscription is not confirmed: it is there when a call of ours comes back.
        var headers = new Metadata { { "containerd-namespace", Namespace } };
        await Poll.Until(
            async () =>
            {
                await client.PublishAsync(new PublishRequest { Topic = "/test/call", Event = Any.Pack(new StringValue { Value = "anybody there?" }) }, headers);
                return heard.Task.IsCompleted;
            },
            Poll.Deadline,
            "events of containerd");
        return log;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        var complaints = new List<string>();
        try
        {
            if (_daemon is null or { HasExited: true })
            {
                await StartDaemonAsync();
            }

            foreach (var id in (await CtrAsync("container", "ls", "--quiet")).OutputOf().Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                await RemoveAsync(id);
            }

            await StopDaemonAsync();
        }
        catch (AssertionException e)
        {
            complaints.Add(e.Message);
        }

        try
        {
            complaints.AddRange(await LeftAsync());
            if (complaints.Count > 0)
            {
                await TestContext.Out.WriteLineAsync(Log);
            }

            Assert.That(complaints, Is.Empty, "left behind, or could not be removed");
        }
        finally
        {
            Sweep();
            Channel.Dispose();
            _daemon?.Dispose();
        }
    }

    private string[] CtrArguments(string[] arguments) => ["--address", Address, "--namespace", Namespace, "--timeout", "30s", .. arguments];

    private async Task EndDaemonAsync(Signum signal)
    {
        Signal(signal);
        await _daemon!.WaitForExitAsync().WithinAsync(Poll.Deadline, $"containerd's end after {signal}");
    }

    private string Configuration(string? cri) =>
        $"""
        version = 2
        root = "{PathOf("root")}"
        state = "{PathOf("state")}"
        disabled_plugins = [{string.Join(", ", s_unused.Concat(cri is null ? s_withoutCri : []).Select(name => $"\"{name}\""))}]
        [grpc]
          address = "{Address}"
        [debug]
          level = "debug"
        {cri}
        """;

    [GeneratedRegex("non-zero exit code ([0-9]+)")]
    private static partial Regex NonZeroStatus { get; }

    // What the machine may lack, and /opt/containerd, which is not the test's.
    private static readonly string[] s_unused =
    [
        "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
        "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt",
    ];

    private IEnumerable<string> Left()
    {
        foreach (var process in HostProcess.Mentioning(_directory).Concat(HostProcess.Mentioning(Namespace)).DistinctBy(process => process.Pid))
        {
            yield return $"process {process.Pid} of {process.Parent}, state {process.State}: {process.CommandLine}";
        }

        foreach (var path in Leaks.Find(_directory, "").Where(line => line.StartsWith("mount ", StringComparison.Ordinal)))
        {
            yield return path;
        }

        foreach (var path in Cgroups().SelectMany(Directory.GetDirectories))
        {
            yield return $"cgroup {path}";
        }

        foreach (var nameSpace in _namespaces)
        {
            foreach (var socket in _ids.Select(id => ShimSocket.PathOf(Address, nameSpace, id)).Where(File.Exists))
            {
                yield return $"socket {socket}";
            }

            foreach (var path in Entries($"/run/containerd/runc/{nameSpace}").Concat(Entries(BundleOf("", nameSpace))))
            {
                yield return path;
            }
        }

    }

    private async Task<IReadOnlyList<string>> LeftAsync()
    {
        try
        {
            return await Poll.For(() => Left().ToList(), left => left.Count == 0, TimeSpan.FromSeconds(5), "nothing left behind");
        }
        catch (AssertionException)
        {
            return [.. Left()];
        }
    }

    private static string[] Entries(string directory) => Directory.Exists(directory) ? Directory.GetFileSystemEntries(directory) : [];

    private IEnumerable<string> Cgroups() =>
        (Machine.CgroupV1 ? Directory.GetDirectories("/sys/fs/cgroup") : ["/sys/fs/cgroup"])
            .Select(root => Path.Combine(root, Namespace))
            .Where(Directory.Exists);

    private void Sweep()
    {
        foreach (var process in HostProcess.Mentioning(_directory).Concat(HostProcess.Mentioning(Namespace)))
        {
            _ = Syscall.kill(process.Pid, Signum.SIGKILL);
        }

        Leaks.Sweep(_directory, Namespace);
        foreach (var cgroup in Cgroups())
        {
            foreach (var path in Directory.GetDirectories(cgroup).Append(cgroup))
            {
                // A killed process leaves its cgroup a moment later.
                for (var attempt = 0; attempt < 50 && Directory.Exists(path) && Syscall.rmdir(path) != 0; attempt++)
                {
                    Thread.Sleep(10);
                }
            }
        }

        foreach (var socket in _namespaces.SelectMany(nameSpace => _ids.Select(id => ShimSocket.PathOf(Address, nameSpace, id))))
        {
            File.Delete(socket);
        }

        if (Directory.Exists($"/run/containerd/runc/{Namespace}"))
        {
            Directory.Delete($"/run/containerd/runc/{Namespace}", recursive: true);
        }

        Directory.Delete(_directory, recursive: true);
    }
}
