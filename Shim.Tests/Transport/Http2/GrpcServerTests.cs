using System.Net.Sockets;
using Containerd;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using Shim.Tests.Support;
using static Shim.Tests.Transport.Http2.RawHttp2Peer;
using Process = System.Diagnostics.Process;

namespace Shim.Tests.Transport.Http2;

/// <summary>The gRPC server as bytes on a socket, and as the clients of others see it.</summary>
public sealed class GrpcServerTests
{
    private GrpcFixture _fixture = null!;

    [SetUp]
    public void Begin() => _fixture = new GrpcFixture();

    [TearDown]
    public async Task End() => await _fixture.DisposeAsync();

    [Test]
    public async Task Call_ByteByByte_Answered()
    {
        using var peer = _fixture.Raw();
        foreach (var octet in (byte[])[.. Preface, .. Call(1, "echo", Text("slow"))])
        {
            await peer.SendAsync([octet]);
        }

        var (body, headers) = await peer.AnswerAsync(1);
        Assert.That(body, Is.EqualTo(Message(Text("slow"))));
        Assert.That(headers, Is.EqualTo(new Dictionary<string, string> { [":status"] = "200", ["content-type"] = "application/grpc", ["grpc-status"] = "0" }));
    }

    [Test]
    public async Task Calls_ManyInOneWrite_AllAnswered()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync([.. Preface, .. Enumerable.Range(0, 100).SelectMany(i => Call((uint)((2 * i) + 1), "echo", Text($"{i}")))]);
        var statuses = 0;
        while (statuses < 100)
        {
            var frame = await peer.ReadFrameAsync() ?? throw new EndOfStreamException();
            statuses += frame.Type == Headers && (frame.Flags & EndStream) != 0 ? 1 : 0;
        }

        await Poll.Until(() => _fixture.Worked == 100 && _fixture.Server.Calls == 0, Poll.Deadline, "all have ended");
    }

    [Test]
    public async Task Call_PaddedAndPrioritised_Answered()
    {
        using var peer = _fixture.Raw();
        var message = Message(Text("x"));
        await peer.SendAsync(
            Preface,
            Frame(Headers, EndHeaders | Padded | 32, 1, [3, 0, 0, 0, 0, 16, .. CallBlock("echo"), 0, 0, 0]),
            Frame(2, 0, 1, [0, 0, 0, 0, 5]),
            Frame(0xee, 0xff, 1, [1, 2, 3]),
            Frame(Data, EndStream | Padded, 1, [2, .. message, 9, 9]));
        Assert.That((await peer.AnswerAsync(1)).Body, Is.EqualTo(message));
    }

    [Test]
    public async Task Headers_ContinuedInPieces_Answered()
    {
        using var peer = _fixture.Raw();
        var block = CallBlock("echo", ("x-long", new string('l', 9000)));
        await peer.SendAsync(
            Preface,
            Frame(Headers, 0, 1, block[..1]),
            Frame(Continuation, 0, 1, block[1..5000]),
            Frame(Continuation, EndHeaders, 1, block[5000..]),
            Frame(Data, EndStream, 1, Message(Text("x"))));
        Assert.That(await peer.StatusAsync(1), Is.Zero);
    }

    [Test]
    public async Task Ping_Answered()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Ping, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]));
        var answer = await peer.ReadAsync(Ping);
        Assert.That((answer!.Value.Flags, answer.Value.Payload), Is.EqualTo((Ack, new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 })));
    }

    [Test]
    public async Task Answer_WindowIsClosed_WaitsUntilItOpens()
    {
        using var peer = _fixture.Raw();

        // Streams begin with a window of 3 bytes.
        await peer.SendAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), Frame(Settings, 0, 0, [0, 4, 0, 0, 0, 3]), Call(1, "echo", Text("hello")));
        var data = await peer.ReadAsync(Data);
        Assert.That(data!.Value.Payload, Has.Length.EqualTo(3));
        await peer.SendAsync(Frame(WindowUpdate, 0, 1, Number(2)));
        Assert.That((await peer.ReadAsync(Data))!.Value.Payload, Has.Length.EqualTo(2));

        // The settings change for streams that have begun, too.
        await peer.SendAsync(Frame(Settings, 0, 0, [0, 4, 0, 0, 4, 0]));
        Assert.That(await peer.StatusAsync(1), Is.Zero);
    }

    [Test]
    public async Task Stream_WindowIsClosed_HoldsNoMemoryThatOthersWaitFor()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), Frame(Settings, 0, 0, [0, 4, 0, 0, 0, 3]), Call(1, "flood", new Empty()));
        await peer.ReadAsync(Data);
        Assert.That(_fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20), "who reads events may take his time");
        Assert.That(_fixture.Server.Connections, Is.EqualTo(1));
    }

    [Test]
    public async Task Answer_ClientResetsWhileItWaits_CallEnds()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray(), Frame(Settings, 0, 0, [0, 4, 0, 0, 0, 0]), Call(1, "make", new Int32Value { Value = 100_000 }));
        await peer.ReadAsync(Headers);
        await peer.SendAsync(Frame(Reset, 0, 1, Number(8)));
        await Poll.Until(() => _fixture.Server.Calls == 0, Poll.Deadline, "the call ends");
        Assert.That(_fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20), "its memory was given back");
    }

    [Test]
    public async Task Reset_CancelsTheMethod()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Call(1, "wait", new Empty()));
        await Poll.Until(() => _fixture.Waits == 1, Poll.Deadline, "the method runs");
        await peer.SendAsync(Frame(Reset, 0, 1, Number(8)));
        await Poll.Until(() => _fixture.Ends.Contains("wait TaskCanceledException True"), Poll.Deadline, "it is cancelled");
        await peer.SendAsync(Call(3, "echo", Text("still here")));
        Assert.That(await peer.StatusAsync(3), Is.Zero);
    }

    [Test]
    public async Task ConnectionLost_CancelsTheMethods()
    {
        using (var peer = _fixture.Raw())
        {
            await peer.SendAsync(Preface, Call(1, "wait", new Empty()), Call(3, "flood", new Empty()));
            await Poll.Until(() => _fixture.Waits == 1, Poll.Deadline, "the method runs");
        }

        await Poll.Until(() => _fixture.Ends.Count == 2 && _fixture.Server.Calls == 0 && _fixture.Server.Connections == 0, Poll.Deadline, "both end");
    }

    [TestCase("echo", "", 3, TestName = "no message")]
    [TestCase("echo", "00000000", 3, TestName = "half a prefix")]
    [TestCase("echo", "0000000005aa", 3, TestName = "half a message")]
    [TestCase("echo", "00000000000000000000", 3, TestName = "two messages")]
    [TestCase("echo", "010000000000", 12, TestName = "a compressed message")]
    [TestCase("echo", "00ffffffff", 8, TestName = "a message of 4 GiB")]
    [TestCase("echo", "00004000010a", 8, TestName = "a message of 4 MiB and a byte")]
    [TestCase("echo", "0000000003ffffff", 3, TestName = "no protobuf")]
    [TestCase("none", "0000000000", 12, TestName = "an unknown method")]
    public async Task Call_Wrong_StatusSaysSo(string method, string body, int status)
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Headers, EndHeaders, 1, CallBlock(method)), Frame(Data, EndStream, 1, Convert.FromHexString(body)));
        Assert.That(await peer.StatusAsync(1), Is.EqualTo(status));
        await peer.SendAsync(Call(3, "echo", Text("on")));
        Assert.That(await peer.StatusAsync(3), Is.Zero);
    }

    [Test]
    public async Task Call_RefusedBeforeItsEnd_ClientIsToldToStop()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Headers, EndHeaders, 1, CallBlock("none")));
        Assert.That(await peer.StatusAsync(1), Is.EqualTo(12));
        Assert.That((await peer.ReadAsync(Reset))!.Value.Payload, Is.EqualTo(Number(0)));

        // What it had sent before it knew.
        await peer.SendAsync(Frame(Data, 0, 1, new byte[1000]), Frame(Data, EndStream, 1, []), Call(3, "echo", Text("on")));
        Assert.That(await peer.StatusAsync(3), Is.Zero);
    }

    [TestCase("GET", "application/grpc", "405")]
    [TestCase("POST", "text/plain", "415")]
    [TestCase("POST", "", "415")]
    public async Task Request_NotGrpc_AnsweredInHttp(string method, string type, string status)
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(
            Preface, Frame(Headers, EndHeaders | EndStream, 1, Block((":method", method), (":scheme", "http"), (":path", "/test.Moods/echo"), ("content-type", type))));
        Assert.That((await peer.AnswerAsync(1)).Headers[":status"], Is.EqualTo(status));
    }

    [Test]
    public async Task Call_CompressedByHeader_Unimplemented()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(
            Preface, Frame(Headers, EndHeaders, 1, CallBlock("echo", ("grpc-encoding", "gzip"))), Frame(Data, EndStream, 1, Message(Text("x"))));
        Assert.That(await peer.StatusAsync(1), Is.EqualTo(12));
    }

    [TestCase("0 0 0 0 0 0", 1u, TestName = "data for a stream that has not begun")]
    [TestCase("1 4 2", 1u, TestName = "headers for a stream of the server's")]
    [TestCase("1 4 0", 1u, TestName = "headers without a stream")]
    [TestCase("9 4 1", 1u, TestName = "a continuation of nothing")]
    [TestCase("5 4 1", 1u, TestName = "a promise")]
    [TestCase("1 12 1 ff", 1u, TestName = "headers that are padding only")]
    [TestCase("1 4 1 80", 9u, TestName = "headers that cannot be read")]
    [TestCase("4 0 1 000400000000", 6u, TestName = "settings of a stream")]
    [TestCase("4 0 0 00", 6u, TestName = "half a setting")]
    [TestCase("4 1 0 000400000000", 6u, TestName = "settings in an acknowledgement")]
    [TestCase("4 0 0 0004ffffffff", 3u, TestName = "a window that cannot be")]
    [TestCase("6 0 0 00", 6u, TestName = "a short ping")]
    [TestCase("8 0 0 00000000", 3u, TestName = "a window update of nothing")]
    [TestCase("8 0 0 7fffffff", 3u, TestName = "a window that overflows")]
    [TestCase("8 0 0 0000", 6u, TestName = "half a window update")]
    [TestCase("3 0 1 00", 6u, TestName = "half a reset")]
    public async Task Frame_AgainstTheProtocol_ConnectionEndsWithItsCode(string frame, uint code)
    {
        await using var good = new Good(_fixture.Path);
        using var peer = _fixture.Raw();
        var parts = frame.Split(' ');
        await peer.SendAsync(
            Preface, Frame(byte.Parse(parts[0]), byte.Parse(parts[1]), uint.Parse(parts[2]), Convert.FromHexString(string.Concat(parts[3..].Select(part => part.PadLeft(2, '0'))))));
        Assert.That(await peer.GoodbyeAsync(), Is.EqualTo(code));
        Assert.That(_fixture.Log.Single(), Does.StartWith("a connection is closed: "));
        await good.EchoAsync("served on");
    }

    [Test]
    public async Task Frame_TooLong_ConnectionEnds()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Data, 0, 1, [], 16385));
        Assert.That(await peer.GoodbyeAsync(), Is.EqualTo(6u));
    }

    [Test]
    public async Task Headers_ContinuedWithoutEnd_ConnectionEnds()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Headers, 0, 1, CallBlock("echo")));
        try
        {
            for (var i = 0; i < 100; i++)
            {
                await peer.SendAsync(Frame(Continuation, 0, 1, new byte[1000]));
            }
        }
        catch (SocketException)
        {
            // It has hung up already.
        }

        Assert.That(await peer.GoodbyeAsync(), Is.EqualTo(11u).Or.Null);
        Assert.That(_fixture.Log.Single(), Does.Contain("a block of headers of more than"));
    }

    [Test]
    public async Task Headers_InterruptedByAnotherFrame_ConnectionEnds()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Headers, 0, 1, CallBlock("echo")), Frame(Ping, 0, 0, new byte[8]));
        Assert.That(await peer.GoodbyeAsync(), Is.EqualTo(1u));
    }

    [Test]
    public async Task NoPreface_ConnectionEnds()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync("GET / HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        Assert.That(await peer.GoodbyeAsync(), Is.Null);
        await Poll.Until(() => _fixture.Server.Connections == 0, Poll.Deadline, "the connection is closed");
    }

    [Test]
    public async Task Stop_CallUnderWay_NewOnesRefusedAndItsAnswerGoesOut()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Call(1, "wait", new Empty()));
        await Poll.Until(() => _fixture.Waits == 1, Poll.Deadline, "the method runs");
        var stopping = _fixture.Server.StopAsync(Poll.Deadline);
        Assert.That((await peer.ReadAsync(GoAway))!.Value.Payload, Is.EqualTo((byte[])[.. Number(1), .. Number(0)]));
        await peer.SendAsync(Call(3, "echo", Text("late")));
        Assert.That((await peer.ReadAsync(Reset))!.Value.Payload, Is.EqualTo(Number(7)), "refused: may be tried elsewhere");
        _fixture.Gate.SetResult();
        Assert.That(await peer.StatusAsync(1), Is.Zero);
        await stopping.WithinAsync(Poll.Deadline, "the server stops");
    }

    [Test]
    public async Task NetClient_EveryKind_Answered()
    {
        await using var good = new Good(_fixture.Path);
        await good.EchoAsync("hällo");
        Assert.That((await good.CallAsync("bytes", new BytesValue { Value = ByteString.CopyFrom(new byte[3_000_000]) }, Int64Value.Parser)).Value, Is.EqualTo(3_000_000));
        Assert.That((await good.CallAsync("make", new Int32Value { Value = 4_000_000 }, BytesValue.Parser)).Value, Has.Length.EqualTo(4_000_000));
        var tooLarge = Assert.ThrowsAsync<RpcException>(() => good.CallAsync("make", new Int32Value { Value = 5_000_000 }, BytesValue.Parser));
        Assert.That(tooLarge!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        var failed = Assert.ThrowsAsync<RpcException>(() => good.CallAsync("fail", Text("50 % of Größe\n\tand more"), Empty.Parser));
        Assert.That((failed!.StatusCode, failed.Status.Detail), Is.EqualTo((StatusCode.NotFound, "50 % of Größe\n\tand more")));
        var bug = Assert.ThrowsAsync<RpcException>(() => good.CallAsync("bug", Text("b"), Empty.Parser));
        Assert.That((bug!.StatusCode, bug.Status.Detail), Is.EqualTo((StatusCode.FailedPrecondition, "mapped: b")));
        var numbers = new List<int>();
        using (var stream = good.Stream("count", new Int32Value { Value = 1000 }, Int32Value.Parser))
        {
            await foreach (var number in stream.ResponseStream.ReadAllAsync())
            {
                numbers.Add(number.Value);
            }
        }

        Assert.That(numbers, Is.EqualTo(Enumerable.Range(1, 1000)));
    }

    [Test]
    public async Task NetClient_Deadline_CallIsCancelledAndSaysSo()
    {
        using var peer = _fixture.Raw();
        await peer.SendAsync(Preface, Frame(Headers, EndHeaders, 1, CallBlock("wait", ("grpc-timeout", "50m"))), Frame(Data, EndStream, 1, Message(new Empty())));
        Assert.That(await peer.StatusAsync(1), Is.EqualTo((int)StatusCode.DeadlineExceeded));
        Assert.That(_fixture.Ends, Is.EqualTo(new[] { "wait TaskCanceledException True" }));
    }

    [Test]
    public async Task NetClient_StopsReadingAStream_ServerWaitsWithoutMemoryAndOthersGoOn()
    {
        await using var good = new Good(_fixture.Path);
        using var stream = good.Stream("flood", new Empty(), BytesValue.Parser);
        Assert.That(await stream.ResponseStream.MoveNext(default), Is.True);
        for (var i = 0; i < 50; i++)
        {
            await good.EchoAsync($"{i}");
        }

        stream.Dispose();
        await Poll.Until(() => _fixture.Ends.Count == 1 && _fixture.Server.Calls == 0, Poll.Deadline, "the flood ends");
    }

    [Test]
    public async Task Python_ClientOfGrpcsCCore_Answered()
    {
        const string script = """
            import grpc, sys
            channel = grpc.insecure_channel('unix:' + sys.argv[1])
            def call(name, data, **more):
                return channel.unary_unary('/test.Moods/' + name)(data, timeout=20, **more)
            for i in range(20):
                # Metadata of its own, the same each time: C core has us remember it.
                assert call('echo', b'\n\x02hi', metadata=(('x-own', 'value'), ('x-number', str(i)))) == b'\n\x02hi'
            assert len(call('make', b'\x08\xa0\x8d\x06')) > 100000
            stream = channel.unary_stream('/test.Moods/count')(b'\x08\x64', timeout=20)
            assert sum(1 for _ in stream) == 100
            try:
                call('fail', b'\n\x05gr\xc3\xb6n')
                sys.exit('no error')
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.NOT_FOUND and e.details() == 'grön', e
            response, rpc = channel.unary_unary('/test.Moods/trailer').with_call(b'\n\x03sad', timeout=20)
            assert dict(rpc.trailing_metadata())['mood'] == 'sad'
            print('fine')
            """;
        using var process = Process.Start(new System.Diagnostics.ProcessStartInfo("/usr/bin/python3", ["-c", script, _fixture.Path])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WithinAsync(TimeSpan.FromSeconds(60), "the client ends");
        Assert.That(await output, Is.EqualTo("fine\n"), await errors);
    }

    [Test]
    public async Task Fuzz_AnyBytes_TheServerAndItsOtherClientsAreUnharmed()
    {
        _fixture.Gate.SetResult();
        await using var good = new Good(_fixture.Path);
        var random = new Random(20170217);
        for (var round = 0; round < 300; round++)
        {
            using (var peer = _fixture.Raw())
            {
                var bytes = Enumerable.Range(0, random.Next(1, 20)).SelectMany(_ => Any(random)).ToArray();
                for (var flips = random.Next(3) == 0 ? random.Next(1, 10) : 0; flips > 0; flips--)
                {
                    bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
                }

                try
                {
                    await peer.SendAsync([.. random.Next(20) == 0 ? [] : Preface, .. random.Next(3) == 0 ? bytes[..random.Next(bytes.Length)] : bytes]);
                    if (random.Next(2) == 0)
                    {
                        peer.Socket.Shutdown(SocketShutdown.Send);
                        await peer.GoodbyeAsync();
                    }
                }
                catch (SocketException)
                {
                    // It may hang up at any time.
                }
            }

            await good.EchoAsync($"round {round}");
        }

        await Poll.Until(() => _fixture.Server.Connections == 1 && _fixture.Server.Calls == 0, Poll.Deadline, "nothing is left but the good client");
        Assert.That(_fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20));
        Assert.That(_fixture.Log, Has.All.StartsWith("a connection is closed: ").And.All.Not.Contain("   at "), "no exception that nobody thought of");
    }

    private static byte[] Any(Random random)
    {
        string[] methods = ["echo", "bytes", "make", "fail", "bug", "wait", "count", "none"];
        var stream = (uint)random.Next(0, 20);
        var payload = new byte[random.Next(3) switch { 0 => random.Next(10), 1 => random.Next(2000), _ => random.Next(16384) }];
        random.NextBytes(payload);
        return random.Next(8) switch
        {
            0 or 1 => Call(stream | 1, methods[random.Next(methods.Length)], new Int32Value { Value = random.Next(50) }),
            2 => Frame(Headers, (byte)random.Next(256), stream | 1, CallBlock(methods[random.Next(methods.Length)])),
            3 => Frame(Data, (byte)random.Next(16), stream, payload),
            4 => Frame(WindowUpdate, 0, stream, Number((uint)random.Next())),
            5 => Frame(Settings, 0, 0, [0, 4, 0, 0, payload.Length > 0 ? payload[0] : (byte)0, 0]),
            6 => Frame((byte)random.Next(12), (byte)random.Next(256), stream, payload),
            _ => Frame(Reset, 0, stream, Number(8)),
        };
    }

    private static StringValue Text(string text) => new() { Value = text };

    /// <summary>A client of .NET's on a channel of its own.</summary>
    private sealed class Good(string path) : IAsyncDisposable
    {
        private readonly GrpcChannel _channel = UnixChannel.Open(path);

        internal async Task EchoAsync(string text) => Assert.That((await CallAsync("echo", Text(text), StringValue.Parser)).Value, Is.EqualTo(text));

        internal async Task<TAnswer> CallAsync<TRequest, TAnswer>(string method, TRequest request, MessageParser<TAnswer> parser)
            where TRequest : class, IMessage<TRequest>
            where TAnswer : class, IMessage<TAnswer> => await _channel.CreateCallInvoker().AsyncUnaryCall(
                Method<TRequest, TAnswer>(MethodType.Unary, method, parser), null, new CallOptions(deadline: DateTime.UtcNow + Poll.Deadline), request);

        internal AsyncServerStreamingCall<TAnswer> Stream<TRequest, TAnswer>(string method, TRequest request, MessageParser<TAnswer> parser)
            where TRequest : class, IMessage<TRequest>
            where TAnswer : class, IMessage<TAnswer> => _channel.CreateCallInvoker().AsyncServerStreamingCall(
                Method<TRequest, TAnswer>(MethodType.ServerStreaming, method, parser), null, new CallOptions(deadline: DateTime.UtcNow + Poll.Deadline), request);

        public ValueTask DisposeAsync()
        {
            _channel.Dispose();
            return ValueTask.CompletedTask;
        }

        private static Method<TRequest, TAnswer> Method<TRequest, TAnswer>(MethodType type, string name, MessageParser<TAnswer> parser)
            where TRequest : class, IMessage<TRequest>
            where TAnswer : class, IMessage<TAnswer> => new(
                type,
                GrpcFixture.Service,
                name,
                Marshallers.Create<TRequest>(message => message.ToByteArray(), _ => throw new NotSupportedException()),
                Marshallers.Create<TAnswer>(_ => throw new NotSupportedException(), bytes => parser.ParseFrom(bytes)));
    }
}
