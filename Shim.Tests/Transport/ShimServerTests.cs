using System.Diagnostics;
using System.Net.Sockets;
using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using Shim.Tests.Support;
using Process = System.Diagnostics.Process;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Shim.Tests.Transport;

/// <summary>The private service as bytes on a socket, answered by the real executable.</summary>
public sealed class ShimServerTests
{
    private const string Service = "containerd.shim.v1.Shim";
    private static readonly Marshaller<byte[]> s_bytes = Marshallers.Create(bytes => bytes, bytes => bytes);

    private ShimFixture _shim = null!;

    [SetUp]
    public async Task Start() => _shim = await ShimFixture.StartAsync();

    [TearDown]
    public async Task End()
    {
        if (_shim is not null)
        {
            await _shim.DisposeAsync();
        }
    }

    [Test]
    public async Task Call_EveryMethodOfTheService_IsAnswered()
    {
        var methods = ShimContract.Descriptor.Methods;
        Assert.That(methods, Has.Count.EqualTo(24));

        // Shutdown comes last, because it works.
        foreach (var method in methods.OrderBy(method => method.Name == "Shutdown"))
        {
            // An empty request follows the events for ever: `no_follow`, field 21.
            byte[] request = method.IsServerStreaming ? [0xa8, 0x01, 0x01] : [];
            var status = await CallAsync(_shim.Channel, method.Name, request, method.IsServerStreaming);
            StatusCode[] expected = method.Name switch
            {
                "State" or "Info" or "Recorded" or "Dump" or "Shutdown" or "Events" => [StatusCode.OK],
                "Create" or "Adopt" => [StatusCode.InvalidArgument],
                _ => [StatusCode.NotFound],
            };
            Assert.That(expected, Does.Contain(status.StatusCode), $"{method.Name}: {status}");
        }

        await Poll.Until(() => !_shim.IsRunning, Poll.Deadline, "the shim's end after Shutdown");
    }

    [TestCase("Nope")]
    [TestCase("")]
    [TestCase("create")]
    [TestCase("Create/x")]
    public async Task Call_UnknownMethod_Unimplemented(string method) =>
        Assert.That((await CallAsync(_shim.Channel, method, [])).StatusCode, Is.EqualTo(StatusCode.Unimplemented));

    [Test]
    public async Task Call_UnknownService_Unimplemented()
    {
        var status = await CallAsync(_shim.Channel, "Check", [], service: "grpc.health.v1.Health");
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.Unimplemented));
        Assert.That(status.Detail, Does.Contain("/grpc.health.v1.Health/Check"));
    }

    [TestCase("Create")]
    [TestCase("State")]
    public async Task Call_NoProtobuf_RefusedAndServedOn(string method)
    {
        Assert.That((await CallAsync(_shim.Channel, method, [0xff, 0xff, 0xff])).StatusCode, Is.Not.EqualTo(StatusCode.OK));
        await AnswersAsync();
    }

    [TestCase(4 * 1024 * 1024 + 1)]
    [TestCase(64 * 1024 * 1024)]
    public async Task Call_MessageOver4MiB_ResourceExhausted(int size)
    {
        // Our own channel would not even send it.
        using var channel = OpenWithoutLimits();
        var status = await CallAsync(channel, "State", new byte[size]);
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted), status.Detail);
        await AnswersAsync();
    }

    [Test]
    public async Task Call_MessageOfAlmost4MiB_Taken()
    {
        using var channel = OpenWithoutLimits();

        // A field that State does not know, skipped: number 1,000, length-delimited.
        var payload = new byte[(4 * 1024 * 1024) - 100];
        byte[] request = [0xc2, 0x3e, .. Varint(payload.Length), .. payload];
        Assert.That((await CallAsync(channel, "State", request)).StatusCode, Is.EqualTo(StatusCode.OK));
    }

    [Test]
    public async Task Call_TwoHundredAtOnce_AllAnswered()
    {
        var calls = Enumerable.Range(0, 200).Select(i => (i % 3) switch
        {
            0 => (Task)_shim.Client.InfoAsync(new InfoRequest()).ResponseAsync,
            1 => _shim.Client.StateAsync(new StateRequest()).ResponseAsync,
            _ => _shim.Client.DumpAsync(new DumpRequest()).ResponseAsync,
        });
        await Task.WhenAll(calls).WithinAsync(Poll.Deadline, "two hundred calls");
    }

    [Test]
    public async Task Call_TwoHundredWaitsPending_OthersAreAnsweredAndAllWaitsEnd()
    {
        await RunAsync("sleep", "1000");
        var waits = Enumerable.Range(0, 200).Select(_ => _shim.Client.WaitAsync(new WaitRequest()).ResponseAsync).ToList();
        await Task.Delay(300);
        Assert.That(waits, Has.All.Property("IsCompleted").False);
        await AnswersAsync();
        await _shim.Client.KillAsync(new KillRequest { Signal = 9 });
        var answers = await Task.WhenAll(waits).WithinAsync(Poll.Deadline, "all waits");
        Assert.That(answers.Select(answer => answer.Exit.Status), Has.All.EqualTo(137));
    }

    [Test]
    public async Task Call_ClientsComeAndGo_NoDescriptorStays()
    {
        await AnswersAsync();
        var before = Descriptors();
        for (var i = 0; i < 100; i++)
        {
            using var channel = UnixChannel.Open(_shim.Socket);
            using var follow = new ShimContract.ShimClient(channel).Events(new EventsRequest());
            await new ShimContract.ShimClient(channel).StateAsync(new StateRequest(), deadline: DateTime.UtcNow.AddSeconds(10));
        }

        await Poll.For(Descriptors, count => count <= before, Poll.Deadline, $"{before} descriptors as before");

        int Descriptors() => Directory.GetFileSystemEntries($"/proc/{_shim.ProcessId}/fd").Length;
    }

    [Test]
    public async Task Connect_OtherUser_RefusedThoughThePathIsOpenToHim()
    {
        Machine.RequireProgram("python3");
        await AnswersAsync();
        File.SetUnixFileMode(_shim.Socket, (UnixFileMode)0x1b6);
        Assert.That(ConnectAs(0), Is.EqualTo("answered"), "the control: the same client as root");
        Assert.That(ConnectAs(65534), Is.EqualTo("closed"));
        await Poll.Until(() => _shim.Log.Contains("its user 65534 is not ours", StringComparison.Ordinal), Poll.Deadline, "a line in the log");
        await AnswersAsync();
    }

    [Test]
    public async Task Connect_Garbage_OthersAreServedOn()
    {
        for (var i = 0; i < 20; i++)
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(_shim.Socket));
            var garbage = new byte[1000];
            new Random(i).NextBytes(garbage);
            await socket.SendAsync(garbage);
        }

        await AnswersAsync();
    }

    [Test]
    public void Socket_WhateverTheUmask_ModeIs0600() =>
        Assert.That(Convert.ToString((int)File.GetUnixFileMode(_shim.Socket), 8), Is.EqualTo("600"));

    [Test]
    public async Task Changes_Answered_TrailerNamesTheLastEvent()
    {
        var bundle = _shim.NewBundle().Args("sleep", "1000").Write();
        using var create = _shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path });
        await create;
        Assert.That(create.GetTrailers().GetValue("event-sequence"), Is.EqualTo("1"));
        using var start = _shim.Client.StartAsync(new StartRequest());
        await start;
        Assert.That(start.GetTrailers().GetValue("event-sequence"), Is.EqualTo("2"));
        using var events = _shim.Client.Events(new EventsRequest { NoFollow = true });
        var seen = new List<(ulong, EventType)>();
        await foreach (var e in events.ResponseStream.ReadAllAsync(new CancellationTokenSource(Poll.Deadline).Token))
        {
            seen.Add((e.Sequence, e.Type));
        }

        Assert.That(seen, Is.EqualTo(new[] { (1UL, EventType.Create), (2UL, EventType.Start) }));
    }

    [TestCase(uint.MaxValue)]
    [TestCase(int.MaxValue + 1u)]
    public async Task Kill_PidsThatCannotBe_NotFoundAndNobodyIsSignalled(uint pid)
    {
        var init = await RunAsync("sleep", "1000");
        await Refusal.ExpectAsync(_shim.Client.KillAsync(new KillRequest { Pid = pid, Signal = 9 }), StatusCode.NotFound);
        Assert.That(HostProcess.Runs((int)init), Is.True);
    }

    [Test]
    public async Task Kill_ThreadOfAProcess_NotFound()
    {
        // A number that exists and is no process. Whose thread it is does not matter: it is not one of the container's processes.
        await RunAsync("sleep", "1000");
        var thread = Directory.GetDirectories($"/proc/{Environment.ProcessId}/task").Select(Path.GetFileName).First(name => name != $"{Environment.ProcessId}")!;
        await Refusal.ExpectAsync(_shim.Client.KillAsync(new KillRequest { Pid = uint.Parse(thread), Signal = 9 }), StatusCode.NotFound);
    }

    [Test]
    public async Task Create_RuntimeNameWithNul_InvalidArgument()
    {
        var bundle = _shim.NewBundle().Write();
        foreach (var runtime in new[] { "/usr/sbin/runc\0", "ru\0nc" })
        {
            await Refusal.ExpectAsync(_shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path, Runtime = runtime }), StatusCode.InvalidArgument);
        }
    }

    private async Task<uint> RunAsync(params string[] args)
    {
        var bundle = _shim.NewBundle().Args(args).Write();
        var created = await _shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path });
        await _shim.Client.StartAsync(new StartRequest());
        return created.Pid;
    }

    private async Task AnswersAsync() => Assert.That(
        (await _shim.Client.InfoAsync(new InfoRequest(), deadline: DateTime.UtcNow.AddSeconds(5))).Pid, Is.EqualTo((uint)_shim.ProcessId));

    private static async Task<Status> CallAsync(GrpcChannel channel, string method, byte[] request, bool streaming = false, string service = Service)
    {
        var options = new CallOptions(deadline: DateTime.UtcNow.AddSeconds(20));
        try
        {
            if (streaming)
            {
                using var stream = channel.CreateCallInvoker().AsyncServerStreamingCall(
                    new Method<byte[], byte[]>(MethodType.ServerStreaming, service, method, s_bytes, s_bytes), null, options, request);
                while (await stream.ResponseStream.MoveNext(default))
                {
                }

                return stream.GetStatus();
            }

            using var call = channel.CreateCallInvoker().AsyncUnaryCall(
                new Method<byte[], byte[]>(MethodType.Unary, service, method, s_bytes, s_bytes), null, options, request);
            await call.ResponseAsync;
            return call.GetStatus();
        }
        catch (RpcException e)
        {
            return e.Status;
        }
    }

    private GrpcChannel OpenWithoutLimits() => GrpcChannel.ForAddress("http://unix", new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(_shim.Socket), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            },
        },
        DisposeHttpClient = true,
        MaxSendMessageSize = null,
        MaxReceiveMessageSize = null,
    });

    private static List<byte> Varint(int value)
    {
        var bytes = new List<byte>();
        for (; value > 0x7f; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
        return bytes;
    }

    // Connects, sends the beginning of HTTP/2 and says whether the server answers or closes.
    private string ConnectAs(int uid)
    {
        const string script = """
            import os, socket, sys
            os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
            s = socket.socket(socket.AF_UNIX); s.settimeout(10)
            s.connect(sys.argv[2])
            try:
                s.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                print('answered' if s.recv(100) else 'closed')
            except (ConnectionResetError, BrokenPipeError):
                print('closed')
            """;
        using var process = Process.Start(new ProcessStartInfo("python3", ["-c", script, $"{uid}", _shim.Socket]) { RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEndAsync();
        Assert.That(process.WaitForExit(20_000), Is.True);
        return output.Result.Trim();
    }
}
