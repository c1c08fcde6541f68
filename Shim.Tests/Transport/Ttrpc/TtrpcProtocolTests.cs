using System.Net.Sockets;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>What a server makes of frames that no good client sends: it answers or hangs up, and nobody else notices.</summary>
public sealed class TtrpcProtocolTests
{
    private const byte Request = 1;
    private const byte Response = 2;
    private const byte Data = 3;
    private const byte Closed = 1;
    private const byte Open = 2;
    private const byte NoData = 4;

    private TtrpcFixture _fixture = null!;
    private RawPeer _peer = null!;

    [SetUp]
    public void Start()
    {
        _fixture = new TtrpcFixture();
        _peer = _fixture.Raw();
    }

    [TearDown]
    public async Task End()
    {
        _peer.Dispose();
        await _fixture.DisposeAsync();
        Assert.That(_fixture.Log, Is.Empty);
        Assert.That(_fixture.Server.Incoming.Free, Is.EqualTo(16 << 20));
        Assert.That(_fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20));
    }

    [Test]
    public async Task Unary_Request_ResponseWithoutStatus()
    {
        await _peer.SendAsync(Echo(1, "hello"));
        var frame = await _peer.ReadAsync();
        Assert.That(frame!.Value.Id, Is.EqualTo(1));
        Assert.That(frame.Value.Type, Is.EqualTo(Response));
        Assert.That(frame.Value.Flags, Is.Zero);
        Assert.That(Convert.ToHexString(frame.Value.Data), Is.EqualTo("1207" + "0A05" + "68656C6C6F"));
    }

    [Test]
    public async Task Frames_InSingleBytes_AreRead()
    {
        foreach (var value in Echo(1, "slow"))
        {
            await _peer.SendAsync([value]);
        }

        Assert.That((await _peer.ReadResponseAsync()).Response.Status, Is.Null);
    }

    [Test]
    public async Task Frames_ManyInOneWrite_AreAllAnswered()
    {
        await _peer.SendAsync([.. Enumerable.Range(0, 300).SelectMany(i => Echo((uint)((i * 2) + 1), new string('x', i)))]);
        var ids = new List<uint>();
        while (ids.Count < 300)
        {
            ids.Add((await _peer.ReadResponseAsync()).Id);
        }

        Assert.That(ids, Is.EquivalentTo(Enumerable.Range(0, 300).Select(i => (uint)((i * 2) + 1))));
    }

    [TestCase(0u)]
    [TestCase(2u)]
    [TestCase(0xfffffffeu)]
    public async Task Request_EvenStream_InvalidArgument(uint id)
    {
        await _peer.SendAsync(Echo(id, "x"));
        await AssertRefusedAsync(id, StatusCode.InvalidArgument, "StreamID must be odd for client initiated streams");
        await AssertAliveAsync(1);
    }

    [TestCase(5u)]
    [TestCase(3u)]
    public async Task Request_UsedOrLowerStream_InvalidArgument(uint id)
    {
        await AssertAliveAsync(5);
        await _peer.SendAsync(Echo(id, "x"));
        await AssertRefusedAsync(id, StatusCode.InvalidArgument, "StreamID cannot be re-used and must increment");
        await AssertAliveAsync(7);
    }

    [Test]
    public async Task Request_StreamOfACallUnderWay_RefusedAndTheCallStays()
    {
        await _peer.SendAsync(Call(1, "wait"), Echo(1, "x"));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "StreamID cannot be re-used and must increment");
        _fixture.Gate.SetResult();
        var (id, response) = await _peer.ReadResponseAsync();
        Assert.That((id, response.Status), Is.EqualTo((1u, (Google.Rpc.Status?)null)));
    }

    [Test]
    public async Task Request_HighestStream_Answered()
    {
        await AssertAliveAsync(uint.MaxValue);
    }

    [TestCase(Data, Closed | NoData)]
    [TestCase(Data, 0)]
    public async Task Data_UnknownStream_InvalidArgument(byte type, int flags)
    {
        await _peer.SendAsync(RawPeer.Frame(9, type, (byte)flags, []));
        await AssertRefusedAsync(9, StatusCode.InvalidArgument, "StreamID is no longer active");
        await AssertAliveAsync(1);
    }

    [TestCase(0)]
    [TestCase(Response)]
    [TestCase(4)]
    [TestCase(255)]
    public async Task Frame_UnknownType_PassedOver(byte type)
    {
        await _peer.SendAsync(RawPeer.Frame(1, type, 255, [1, 2, 3]), RawPeer.Frame(1, type, 0, new byte[100_000]));
        await AssertAliveAsync(1);
    }

    [TestCase((4u << 20) + 1)]
    [TestCase(20u << 20)]
    public async Task Request_Oversized_ResourceExhaustedAndTheBodyIsSkipped(uint length)
    {
        var sending = _peer.SendAsync(RawPeer.Frame(1, Request, 0, new byte[length]), Echo(3, "after"));
        await AssertRefusedAsync(1, StatusCode.ResourceExhausted, $"message length {length} exceed maximum message size of 4194304");
        await sending;
        Assert.That((await _peer.ReadResponseAsync()).Id, Is.EqualTo(3));
    }

    [Test]
    public async Task Data_Oversized_EndsTheStream()
    {
        await _peer.SendAsync(Call(1, "talk", flags: Open), RawPeer.Frame(1, Data, 0, new byte[(4 << 20) + 1]));
        await AssertRefusedAsync(1, StatusCode.ResourceExhausted, "message length 4194305 exceed maximum message size of 4194304");
        await Poll.For(() => _fixture.Server.Calls, calls => calls == 0, Poll.Deadline, "the handler gave up, or never began");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Frame_LengthOfFourGigabytes_ThenTheEnd_NothingHappens()
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, [1, 2, 3], uint.MaxValue));
        await AssertRefusedAsync(1, StatusCode.ResourceExhausted, "message length 4294967295 exceed maximum message size of 4194304");
        _peer.Socket.Shutdown(SocketShutdown.Send);
        Assert.That(await _peer.ReadAsync(), Is.Null);
    }

    [Test]
    public async Task Request_Garbage_InvalidArgument()
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, [0xff, 0xff, 0xff]));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "unmarshal request error: ");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Payload_Garbage_InvalidArgument()
    {
        var request = new Containerd.Ttrpc.Request { Service = TtrpcFixture.Service, Method = "echo", Payload = ByteString.CopyFrom(0xff, 0xff, 0xff) };
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, request.ToByteArray()));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "unmarshal payload error: ");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Request_Empty_Unimplemented()
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, []));
        await AssertRefusedAsync(1, StatusCode.Unimplemented, "service ");
    }

    [TestCase(0)]
    [TestCase(Closed)]
    public async Task Data_OnAUnaryCall_EndsIt(int flags)
    {
        await _peer.SendAsync(Call(1, "wait"), RawPeer.Frame(1, Data, (byte)flags, [1]));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "data handling error: the stream takes no data");
        await Poll.For(() => _fixture.Server.Calls, calls => calls == 0, Poll.Deadline, "the handler gave up, or never began");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Data_AfterTheLast_EndsTheStream()
    {
        await _peer.SendAsync(Call(1, "deaf", flags: Open), RawPeer.Frame(1, Data, Closed | NoData, []), RawPeer.Frame(1, Data, 0, []));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "data handling error: the stream takes no data");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Data_InAFrameThatSaysItHasNone_EndsTheStream()
    {
        await _peer.SendAsync(Call(1, "deaf", flags: Open), RawPeer.Frame(1, Data, NoData, [1]));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "data handling error: data in a frame without data");
        await AssertAliveAsync(3);
    }

    [Test]
    public async Task Data_LastWithAMessage_IsTaken()
    {
        await _peer.SendAsync(Call(1, "sum", flags: Open), Number(1, 0, 2), Number(1, Closed, 3));
        var (_, response) = await _peer.ReadResponseAsync();
        Assert.That(Int64Value.Parser.ParseFrom(response.Payload).Value, Is.EqualTo(5));
    }

    [Test]
    public async Task Stream_FirstMessageInTheRequest_IsTaken()
    {
        await _peer.SendAsync(Call(1, "sum", new Int32Value { Value = 4 }, Open), Number(1, 0, 2), RawPeer.Frame(1, Data, Closed | NoData, []));
        var (_, response) = await _peer.ReadResponseAsync();
        Assert.That(Int64Value.Parser.ParseFrom(response.Payload).Value, Is.EqualTo(6));
    }

    [Test]
    public async Task Stream_Server_DataFramesAndAnEmptyEnd()
    {
        await _peer.SendAsync(Call(1, "count", new Int32Value { Value = 2 }, Closed));
        var frames = new List<string>();
        while (frames.Count < 3)
        {
            var frame = await _peer.ReadAsync();
            frames.Add($"{frame!.Value.Id} {frame.Value.Type} {frame.Value.Flags} {Convert.ToHexString(frame.Value.Data)}");
        }

        Assert.That(frames, Is.EqualTo(new[] { "1 3 0 0801", "1 3 0 0802", "1 3 5 " }));
        await _peer.SendAsync(RawPeer.Frame(1, Data, Closed | NoData, []));
        await AssertRefusedAsync(1, StatusCode.InvalidArgument, "StreamID is no longer active");
    }

    [TestCase(-1L)]
    [TestCase(long.MinValue)]
    public async Task Deadline_Past_ExceededWithoutTheHandler(long timeout)
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, RawPeer.Request("wait", null, timeout)));
        await AssertRefusedAsync(1, StatusCode.DeadlineExceeded, "context deadline exceeded");
        Assert.That(_fixture.Waits, Is.Zero);
    }

    [TestCase(1L)]
    [TestCase(20_000_000L)]
    public async Task Deadline_Passes_Exceeded(long timeout)
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, RawPeer.Request("wait", null, timeout)));
        await AssertRefusedAsync(1, StatusCode.DeadlineExceeded, "context deadline exceeded");
    }

    [Test]
    public async Task Deadline_AsFarAsPossible_Answered()
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, RawPeer.Request("echo", new StringValue { Value = "x" }, long.MaxValue)));
        Assert.That((await _peer.ReadResponseAsync()).Response.Status, Is.Null);
    }

    [TestCase(1)]
    [TestCase(9)]
    [TestCase(11)]
    public async Task End_WithinAFrame_ConnectionEnds(int bytes)
    {
        await _peer.SendAsync(Echo(1, "cut short")[..bytes]);
        _peer.Socket.Shutdown(SocketShutdown.Send);
        Assert.That(await _peer.ReadAsync(), Is.Null);
        using var other = _fixture.Raw();
        await other.SendAsync(Echo(1, "other"));
        Assert.That((await other.ReadResponseAsync()).Id, Is.EqualTo(1));
    }

    [Test]
    public async Task End_WithinALargeBody_MemoryIsGivenBack()
    {
        await _peer.SendAsync(RawPeer.Frame(1, Request, 0, new byte[1 << 20])[..500_000]);
        await Poll.Until(() => _fixture.Server.Incoming.Free < 16 << 20, Poll.Deadline, "the body is being read");
        _peer.Socket.Shutdown(SocketShutdown.Send);
        Assert.That(await _peer.ReadAsync(), Is.Null);
        Assert.That(_fixture.Server.Incoming.Free, Is.EqualTo(16 << 20));
    }

    private static byte[] Echo(uint id, string text) => Call(id, "echo", new StringValue { Value = text });

    private static byte[] Call(uint id, string method, IMessage? message = null, byte flags = 0) => RawPeer.Frame(id, Request, flags, RawPeer.Request(method, message));

    private static byte[] Number(uint id, byte flags, int value) => RawPeer.Frame(id, Data, flags, new Int32Value { Value = value }.ToByteArray());

    private async Task AssertRefusedAsync(uint id, StatusCode code, string detail)
    {
        var (answered, response) = await _peer.ReadResponseAsync();
        Assert.That(answered, Is.EqualTo(id));
        Assert.That((StatusCode)response.Status.Code, Is.EqualTo(code));
        Assert.That(response.Status.Message, Does.StartWith(detail));
    }

    private async Task AssertAliveAsync(uint id)
    {
        await _peer.SendAsync(Echo(id, "alive"));
        var (answered, response) = await _peer.ReadResponseAsync();
        Assert.That((answered, response.Status), Is.EqualTo((id, (Google.Rpc.Status?)null)));
    }
}
