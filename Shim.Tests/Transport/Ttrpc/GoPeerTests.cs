using System.Diagnostics;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>
/// The client against the original: the shim and the daemon of the distribution's containerd. Their messages are written with types
/// that look the same on the wire, so that these tests need no file of containerd's.
/// </summary>
public sealed class GoPeerTests
{
    private const string Shim = "/usr/bin/containerd-shim-runc-v2";
    private const string TaskService = "containerd.task.v2.Task";

    [Test]
    public async Task GoShim_ConnectStateShutdown_Answers()
    {
        await using var shim = await GoShim.StartAsync();
        await using var client = TtrpcClient.Connect(shim.Socket);

        // ConnectRequest.id = 1; ConnectResponse.shim_pid = 1.
        var connected = await client.CallAsync(TaskService, "Connect", new StringValue { Value = "x" }, UInt32Value.Parser, Poll.Deadline);
        Assert.That(HostProcess.Read((int)connected.Value)?.CommandLine, Does.Contain("containerd-shim-runc-v2"));
        shim.Pid = (int)connected.Value;

        // Many at once, on the one connection.
        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ =>
            client.CallAsync(TaskService, "Connect", new StringValue { Value = "x" }, UInt32Value.Parser, Poll.Deadline)));
        Assert.That(answers.Select(answer => answer.Value), Is.All.EqualTo(connected.Value));

        // No container was created.
        Assert.That(await StatusAsync(client, TaskService, "State"), Is.EqualTo(StatusCode.NotFound));

        // What is said of the unknown is what our server says, word for word.
        await using var ours = new TtrpcFixture();
        await using var ownClient = ours.Client();
        foreach (var (service, own, method) in new[] { ("no.Such", "no.Such", "State"), (TaskService, TtrpcFixture.Service, "NoSuch") })
        {
            Assert.That(await FailAsync(client, service, method), Is.EqualTo(await FailAsync(ownClient, own, method)));
        }

        // ShutdownRequest.id = 1. It ends before, or just after, it has answered.
        try
        {
            await client.CallAsync(TaskService, "Shutdown", new StringValue { Value = "x" }, Empty.Parser, Poll.Deadline);
        }
        catch (RpcException e)
        {
            Assert.That(e.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        }

        await client.Closed.WithinAsync(Poll.Deadline, "the connection ends");
        await Poll.Until(() => !HostProcess.Runs(shim.Pid), Poll.Deadline, "the shim ends");
    }

    [Test]
    public async Task GoShim_BadFrames_AnsweredAsOurServerDoes()
    {
        await using var shim = await GoShim.StartAsync();
        await using var client = TtrpcClient.Connect(shim.Socket);
        shim.Pid = (int)(await client.CallAsync(TaskService, "Connect", new StringValue(), UInt32Value.Parser, Poll.Deadline)).Value;
        await using var ours = new TtrpcFixture();
        byte[][] frames =
        [
            RawPeer.Frame(2, 1, 0, []),
            RawPeer.Frame(1, 1, 0, RawPeer.Request("m", service: "no.Such")),
            RawPeer.Frame(7, 9, 0, [1, 2, 3]),
            RawPeer.Frame(3, 1, 0, [0xff, 0xff]),
            RawPeer.Frame(5, 1, 0, new byte[(4 << 20) + 1]),
        ];
        var theirs = await AnswersAsync(shim.Socket, frames);
        Assert.That(theirs, Has.Count.EqualTo(4));
        Assert.That(await AnswersAsync(ours.Path, frames), Is.EqualTo(theirs));
    }

    [Test]
    public async Task GoDaemon_ForwardEvent_IsPublished()
    {
        await using var daemon = await GoDaemon.StartAsync();
        await using var client = TtrpcClient.Connect(daemon.Socket + ".ttrpc");
        var events = daemon.Events();
        const string service = "containerd.services.events.ttrpc.v1.Events";

        // `ctr events` says nothing when it is ready, so the event is sent until it is seen.
        await Poll.Until(
            async () =>
            {
                await client.CallAsync(service, "Forward", Event("ours", "/test/topic"), Empty.Parser, Poll.Deadline, [new("containerd-namespace-ttrpc", "ours")]);
                return events.Any(line => line.Contains("/test/topic", StringComparison.Ordinal) && line.Contains("ours", StringComparison.Ordinal));
            },
            Poll.Deadline,
            "the event comes out of the daemon");

        // An event without a namespace is refused by the daemon itself.
        var error = Assert.ThrowsAsync<RpcException>(() => client.CallAsync(service, "Forward", Event("", "/test/topic"), Empty.Parser, Poll.Deadline));
        Assert.That(error!.StatusCode, Is.Not.EqualTo(StatusCode.OK).And.Not.EqualTo(StatusCode.Unavailable), error.Status.Detail);
    }

    // ForwardRequest.envelope = 1: timestamp = 1, namespace = 2, topic = 3, event = 4 (Any).
    private static BytesValue Event(string ns, string topic)
    {
        using var bytes = new MemoryStream();
        using var output = new CodedOutputStream(bytes);
        output.WriteTag(1, WireFormat.WireType.LengthDelimited);
        output.WriteMessage(Timestamp.FromDateTimeOffset(DateTimeOffset.UtcNow));
        output.WriteTag(2, WireFormat.WireType.LengthDelimited);
        output.WriteString(ns);
        output.WriteTag(3, WireFormat.WireType.LengthDelimited);
        output.WriteString(topic);
        output.WriteTag(4, WireFormat.WireType.LengthDelimited);

        // A type that the daemon knows: containerd.events.TaskPaused, container_id = 1.
        output.WriteMessage(new Any { TypeUrl = "containerd.events.TaskPaused", Value = new StringValue { Value = "x" }.ToByteString() });
        output.Flush();
        return new BytesValue { Value = ByteString.CopyFrom(bytes.ToArray()) };
    }

    private static async Task<List<string>> AnswersAsync(string socket, byte[][] frames)
    {
        using var peer = RawPeer.Connect(socket);
        var answers = new List<string>();
        foreach (var frame in frames)
        {
            await peer.SendAsync(frame);
            if (frame[8] == 9)
            {
                // Passed over.
                continue;
            }

            var (id, response) = await peer.ReadResponseAsync();

            // What the parsers say after the colon is their own.
            answers.Add($"{id} {(StatusCode)response.Status.Code} {response.Status.Message.Split(':')[0]}");
        }

        return answers;
    }

    private static async Task<StatusCode> StatusAsync(TtrpcClient client, string service, string method) => (await FailAsync(client, service, method)).StatusCode;

    private static async Task<Status> FailAsync(TtrpcClient client, string service, string method)
    {
        try
        {
            await client.CallAsync(service, method, new StringValue { Value = "x" }, Empty.Parser, Poll.Deadline);
            throw new AssertionException($"{service}/{method} did not fail");
        }
        catch (RpcException e)
        {
            return e.Status;
        }
    }

    /// <summary>A shim of containerd's that serves ttrpc in a bundle of its own, without a container.</summary>
    private sealed class GoShim : IAsyncDisposable
    {
        private readonly string _bundle = TestRun.NewDirectory("goshim");
        private readonly FileStream _log;

        private GoShim()
        {
            File.WriteAllText(Path.Combine(_bundle, "config.json"), """{"ociVersion":"1.0.2","process":{"args":["true"],"cwd":"/"},"root":{"path":"rootfs"},"linux":{}}""");

            // The shim waits for a reader of its log and ends with it.
            var fifo = Path.Combine(_bundle, "log");
            Assert.That(Mono.Unix.Native.Syscall.mkfifo(fifo, Mono.Unix.Native.FilePermissions.S_IRUSR | Mono.Unix.Native.FilePermissions.S_IWUSR), Is.Zero);
            _log = new FileStream(fifo, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        }

        internal string Socket { get; private set; } = "";

        internal int Pid { get; set; }

        internal static async Task<GoShim> StartAsync()
        {
            var shim = new GoShim();
            var start = new ProcessStartInfo(
                Shim,
                ["-namespace", TestRun.CgroupPrefix, "-id", TestRun.NewName("go"), "-address", Path.Combine(shim._bundle, "containerd.sock"), "-publish-binary", "/bin/true", "start"])
            {
                WorkingDirectory = shim._bundle,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            using var process = Process.Start(start)!;
            var address = await process.StandardOutput.ReadToEndAsync().WithinAsync(Poll.Deadline, "the shim prints its address");
            Assert.That(address, Does.StartWith("unix:///"), await process.StandardError.ReadToEndAsync().WithinAsync(Poll.Deadline, "its errors"));
            shim.Socket = address["unix://".Length..].Trim();
            return shim;
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var process in HostProcess.Mentioning(_bundle))
            {
                _ = Mono.Unix.Native.Syscall.kill(process.Pid, Mono.Unix.Native.Signum.SIGKILL);
            }

            await Poll.Until(() => HostProcess.Mentioning(_bundle).All(process => process.State == 'Z'), Poll.Deadline, "the shim has ended");
            await _log.DisposeAsync();
            File.Delete(Socket);
            Directory.Delete(_bundle, recursive: true);
        }
    }

    /// <summary>A containerd of our own, with nothing of the machine's.</summary>
    private sealed class GoDaemon : IAsyncDisposable
    {
        private readonly string _directory = TestRun.NewDirectory("containerd");
        private readonly List<Process> _processes = [];

        internal string Socket => Path.Combine(_directory, "c.sock");

        internal static async Task<GoDaemon> StartAsync()
        {
            var daemon = new GoDaemon();
            var config = Path.Combine(daemon._directory, "config.toml");
            await File.WriteAllTextAsync(config, $"""
                version = 2
                root = "{daemon._directory}/root"
                state = "{daemon._directory}/state"
                disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
                [grpc]
                  address = "{daemon.Socket}"
                [ttrpc]
                  address = "{daemon.Socket}.ttrpc"
                """);
            daemon.Run("containerd", "--config", config);
            await Poll.Until(() => File.Exists(daemon.Socket) && File.Exists(daemon.Socket + ".ttrpc"), TimeSpan.FromSeconds(60), "containerd listens");
            return daemon;
        }

        /// <summary>The lines of `ctr events` from now on.</summary>
        internal System.Collections.Concurrent.ConcurrentQueue<string> Events() => Run("ctr", "--address", Socket, "events");

        public async ValueTask DisposeAsync()
        {
            foreach (var process in Enumerable.Reverse(_processes))
            {
                process.Kill();
                await process.WaitForExitAsync().WithinAsync(Poll.Deadline, "containerd ends");
                process.Dispose();
            }

            Directory.Delete(_directory, recursive: true);
        }

        private System.Collections.Concurrent.ConcurrentQueue<string> Run(string program, params string[] arguments)
        {
            var lines = new System.Collections.Concurrent.ConcurrentQueue<string>();
            var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            process.OutputDataReceived += (_, data) => lines.Enqueue(data.Data ?? "");
            process.ErrorDataReceived += (_, _) => { };
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            _processes.Add(process);
            return lines;
        }
    }
}
