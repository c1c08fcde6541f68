using System.Net.Sockets;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Processes;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>Peers that stand still, flood, vanish, or are many; and servers that stop.</summary>
public sealed class TtrpcPeersTests
{
    [Test]
    public async Task Peer_NeverReads_ItsReadingPausesAndOthersAreServed()
    {
        await using var fixture = new TtrpcFixture();
        using var mute = fixture.Raw();
        mute.Socket.Blocking = false;
        var request = RawPeer.Request("make", new Int32Value { Value = 3000 });
        var sent = 0;

        // It sends until the server takes no more, which is long before it has read a thousandth of this.
        var full = 0;
        for (uint id = 1; full < 50 && id < 2_000_000; id += 2)
        {
            var frame = RawPeer.Frame(id, 1, 0, request);
            while (true)
            {
                try
                {
                    // A short frame goes whole or not at all into a socket that is not full of other bytes.
                    Assert.That(mute.Socket.Send(frame), Is.EqualTo(frame.Length));
                    full = 0;
                    sent++;
                    break;
                }
                catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock && ++full < 50)
                {
                    await Task.Delay(10);
                }
                catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
                {
                    break;
                }
            }
        }

        Assert.That(full, Is.EqualTo(50), "the server pauses");
        await using var client = fixture.Client();
        Assert.That(await EchoAsync(client, "other"), Is.EqualTo("other"));

        // And when it begins to read, everything is there.
        mute.Socket.Blocking = true;
        for (var i = 0; i < sent; i++)
        {
            var (_, response) = await mute.ReadResponseAsync();
            Assert.That(response.Payload.Length, Is.GreaterThan(3000), $"answer {i} of {sent}: {response.Status}");
        }
    }

    [Test]
    public async Task Peers_OpenAndSilent_OthersAreServed()
    {
        await using var fixture = new TtrpcFixture();
        var silent = Enumerable.Range(0, 200).Select(_ => fixture.Raw()).ToList();
        await using var client = fixture.Client();
        Assert.That(await EchoAsync(client, "other"), Is.EqualTo("other"));
        silent.ForEach(peer => peer.Dispose());
    }

    [Test]
    public async Task Connections_AtTheLimit_TheNextWaitsForRoom()
    {
        await using var fixture = new TtrpcFixture(options => options with { Connections = 2 });
        await using var first = fixture.Client();
        var second = fixture.Client();
        await EchoAsync(first, "1");
        await EchoAsync(second, "2");
        await using var third = fixture.Client();
        var waits = EchoAsync(third, "3");
        Assert.That(await EchoAsync(first, "1"), Is.EqualTo("1"));
        Assert.That(waits.IsCompleted, Is.False);
        await second.DisposeAsync();
        Assert.That(await waits.WithinAsync(Poll.Deadline, "the third is served"), Is.EqualTo("3"));
    }

    [Test]
    public async Task Accept_PeerIsRefused_ConnectionEnds()
    {
        var refuse = true;
        await using var fixture = new TtrpcFixture(options => options with { Accept = _ => !refuse });
        using var peer = fixture.Raw();
        await peer.EndAsync();
        refuse = false;
        await using var client = fixture.Client();
        Assert.That(await EchoAsync(client, "x"), Is.EqualTo("x"));
    }

    [Test]
    public async Task Accept_TheCheckThrows_ConnectionEndsAndTheServerGoesOn()
    {
        var fail = true;
        await using var fixture = new TtrpcFixture(options => options with { Accept = _ => fail ? throw new InvalidOperationException("broken") : true });
        using var peer = fixture.Raw();
        await peer.EndAsync();
        fail = false;
        await using var client = fixture.Client();
        Assert.That(await EchoAsync(client, "x"), Is.EqualTo("x"));
        Assert.That(fixture.Log, Is.EqualTo(new[] { "a peer could not be checked: broken" }));
    }

    [Test]
    public async Task Calls_AtTheLimit_Refused()
    {
        await using var fixture = new TtrpcFixture(options => options with { Limits = new TtrpcLimits { Calls = 3, Streams = 1 } });
        await using var client = fixture.Client();
        using var stream = await client.StreamingAsync(TtrpcFixture.Service, "talk", Poll.Deadline);
        using var another = await client.StreamingAsync(TtrpcFixture.Service, "talk", Poll.Deadline);
        Assert.That(Assert.ThrowsAsync<RpcException>(() => another.ReadAsync(StringValue.Parser))!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        var waiting = new[] { WaitAsync(client), WaitAsync(client) };
        await Poll.For(() => fixture.Waits, waits => waits == 2, Poll.Deadline, "two wait");
        Assert.That(Assert.ThrowsAsync<RpcException>(() => WaitAsync(client))!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        fixture.Gate.SetResult();
        await Task.WhenAll(waiting).WithinAsync(Poll.Deadline, "they answer");
        await Poll.Until(
            async () =>
            {
                try
                {
                    return await EchoAsync(client, "again") == "again";
                }
                catch (RpcException e) when (e.StatusCode == StatusCode.ResourceExhausted)
                {
                    return false;
                }
            },
            Poll.Deadline,
            "there is room again");
    }

    [Test]
    public async Task LargeRequests_OverTheBudget_WaitAndAreAnswered()
    {
        // Room for one request at a time; each is held until its handler ends.
        await using var fixture = new TtrpcFixture(options => options with { Limits = new TtrpcLimits { IncomingBytes = 3 << 20 } });
        var clients = Enumerable.Range(0, 3).Select(_ => fixture.Client()).ToList();
        var request = new BytesValue { Value = ByteString.CopyFrom(new byte[1 << 20]) };
        var calls = clients.Select(client => client.CallAsync(TtrpcFixture.Service, "hold", request, Empty.Parser, Poll.Deadline)).ToList();
        await Poll.For(() => fixture.Waits, waits => waits >= 1, Poll.Deadline, "one has begun");

        // Small requests need no room.
        await using var other = fixture.Client();
        Assert.That(await EchoAsync(other, "small"), Is.EqualTo("small"));
        Assert.That(fixture.Waits, Is.EqualTo(1));
        fixture.Gate.SetResult();
        await Task.WhenAll(calls).WithinAsync(Poll.Deadline, "all are answered");
        foreach (var client in clients)
        {
            await client.DisposeAsync();
        }

        await Poll.For(() => fixture.Server.Incoming.Free, free => free == 3 << 20, Poll.Deadline, "all memory is back");
    }

    [Test]
    public async Task LargeBody_Stalls_OnlyThatConnectionIsDropped()
    {
        await using var fixture = new TtrpcFixture(options => options with
        {
            Limits = new TtrpcLimits { IncomingBytes = 3 << 20, OutgoingBytes = 1 << 20, Stall = TimeSpan.FromSeconds(2) },
        });
        using var sender = fixture.Raw();
        await sender.SendAsync(RawPeer.Frame(1, 1, 0, new byte[1000], 1 << 20));
        using var reader = fixture.Raw();
        await reader.SendAsync(RawPeer.Frame(1, 1, 0, RawPeer.Request("make", new Int32Value { Value = 1_000_000 })));
        await Poll.Until(() => fixture.Server.Incoming.Free == 0 && fixture.Server.Outgoing.Free < 1 << 19, Poll.Deadline, "both hold memory");
        await using var client = fixture.Client();
        var request = new BytesValue { Value = ByteString.CopyFrom(new byte[1 << 20]) };
        Assert.That((await client.CallAsync(TtrpcFixture.Service, "bytes", request, Int64Value.Parser, Poll.Deadline)).Value, Is.EqualTo(1 << 20));
        var made = await client.CallAsync(TtrpcFixture.Service, "make", new Int32Value { Value = 1_000_000 }, BytesValue.Parser, Poll.Deadline);
        Assert.That(made.Value.Length, Is.EqualTo(1_000_000));
        await sender.EndAsync();
        await reader.EndAsync();
    }

    [Test]
    public async Task Peer_VanishesInACall_HandlerIsCancelledAndNothingIsLeft()
    {
        await using var fixture = new TtrpcFixture();
        for (var i = 0; i < 200; i++)
        {
            using var peer = fixture.Raw();
            await peer.SendAsync(RawPeer.Frame(1, 1, 0, RawPeer.Request("wait")), RawPeer.Frame(3, 1, 2, RawPeer.Request("talk")), RawPeer.Frame(5, 1, 0, RawPeer.Request("make", new Int32Value { Value = 500_000 })));
            if (i % 2 == 0)
            {
                // Unread bytes on our side make it a reset instead of an end.
                await peer.ReadAsync();
            }
        }

        // A request that arrived with the end of its connection may never begin.
        await Poll.Until(() => fixture.Server.Calls == 0 && fixture.Server.Connections == 0, Poll.Deadline, "all calls have ended");
        Assert.That(fixture.Ends, Is.All.Contains("True"));
        Assert.That(fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20));
        Assert.That(fixture.Log, Is.Empty);
    }

    [Test]
    public async Task Client_ServerVanishes_CallsAreUnavailable()
    {
        using var directory = new Listening();
        await using var client = TtrpcClient.Connect(directory.Path);
        using var server = RawPeer.Over(await directory.Socket.AcceptAsync());
        var call = EchoAsync(client, "x");
        Assert.That(await server.ReadAsync(), Is.Not.Null);
        using var stream = await client.StreamingAsync("s", "m", Poll.Deadline);
        server.Dispose();
        Assert.That(Assert.ThrowsAsync<RpcException>(() => call)!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(Assert.ThrowsAsync<RpcException>(() => stream.ReadAsync(Empty.Parser))!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        Assert.That(Assert.ThrowsAsync<RpcException>(() => EchoAsync(client, "y"))!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
        await client.Closed.WithinAsync(Poll.Deadline, "the client has noticed");
    }

    [Test]
    public async Task Client_BadFrames_OnlyTheirCallFails()
    {
        using var directory = new Listening();
        await using var client = TtrpcClient.Connect(directory.Path);
        using var server = RawPeer.Over(await directory.Socket.AcceptAsync());
        var calls = Enumerable.Range(0, 4).Select(_ => EchoAsync(client, "x")).ToList();
        for (var i = 0; i < 4; i++)
        {
            Assert.That((await server.ReadAsync())!.Value.Id, Is.EqualTo((i * 2) + 1));
        }

        await server.SendAsync(
            RawPeer.Frame(99, 2, 0, []),
            RawPeer.Frame(1, 77, 0, [1]),
            RawPeer.Frame(1, 2, 0, [0xff]),
            RawPeer.Frame(3, 3, 0, []),
            RawPeer.Frame(5, 2, 0, new byte[(4 << 20) + 1]),
            RawPeer.Frame(7, 2, 0, [0x12, 0x03, 0x0a, 0x01, 0x7a]));
        StatusCode Code(int i) => Assert.ThrowsAsync<RpcException>(() => calls[i].WithinAsync(Poll.Deadline, "it fails"))!.StatusCode;
        Assert.That(new[] { Code(0), Code(1), Code(2) }, Is.EqualTo(new[] { StatusCode.Internal, StatusCode.Internal, StatusCode.ResourceExhausted }));
        Assert.That(await calls[3].WithinAsync(Poll.Deadline, "the last is answered"), Is.EqualTo("z"));
    }

    [Test]
    public async Task Stop_CallsUnderWay_TheirAnswersGoOutAndNewOnesAreRefused()
    {
        await using var fixture = new TtrpcFixture();
        await using var client = fixture.Client();
        var call = WaitAsync(client);
        await Poll.For(() => fixture.Waits, waits => waits == 1, Poll.Deadline, "it waits");
        var stop = fixture.Server.StopAsync(Poll.Deadline);
        Assert.That(Assert.ThrowsAsync<RpcException>(() => EchoAsync(client, "late"))!.Status, Is.EqualTo(new Status(StatusCode.Unavailable, "the server is shutting down")));
        Assert.That(stop.IsCompleted, Is.False);
        fixture.Gate.SetResult();
        await call.WithinAsync(Poll.Deadline, "it is answered");
        await stop.WithinAsync(Poll.Deadline, "the server stops");
        await client.Closed.WithinAsync(Poll.Deadline, "the connection is closed");
        Assert.That(fixture.Ends, Is.EqualTo(new[] { "wait" }));
    }

    [Test]
    public async Task Stop_AfterTheGrace_CallsAreCancelledAndToldSo()
    {
        await using var fixture = new TtrpcFixture();
        await using var client = fixture.Client();
        var call = WaitAsync(client);
        await Poll.For(() => fixture.Waits, waits => waits == 1, Poll.Deadline, "it waits");
        await fixture.Server.StopAsync(TimeSpan.Zero).WithinAsync(Poll.Deadline, "the server stops");
        Assert.That(Assert.ThrowsAsync<RpcException>(() => call)!.Status, Is.EqualTo(new Status(StatusCode.Cancelled, "context canceled")));
    }

    [Test]
    public async Task Accept_NoDescriptorsLeft_WaitsAndGoesOn()
    {
        using var directory = new Listening();
        var seen = await Probe.RunUnderAsync(["env", "DOTNET_EnableWriteXorExecute=0", "DOTNET_TieredCompilation=0", "prlimit", "--nofile=200:200"], "ttrpc-descriptors", directory.Empty);
        Assert.That((bool)seen["exhausted"]!, Is.True, "the descriptors ran out");
        Assert.That((int)seen["complaints"]!, Is.EqualTo(2), "that it does not work, and that it works again");
        Assert.That((bool)seen["served"]!, Is.True, "the waiting peer was served");
        Assert.That((double)seen["cpu"]!, Is.LessThan(0.3), "processor seconds in one second without descriptors");
    }

    private static async Task<string> EchoAsync(TtrpcClient client, string text) => (await client.CallAsync(
        TtrpcFixture.Service, "echo", new StringValue { Value = text }, StringValue.Parser, Poll.Deadline)).Value;

    private static Task<Empty> WaitAsync(TtrpcClient client) =>
        client.CallAsync(TtrpcFixture.Service, "wait", new Empty(), Empty.Parser, Poll.Deadline);

    /// <summary>A listening socket that a test answers itself.</summary>
    private sealed class Listening : IDisposable
    {
        private readonly string _directory = TestRun.NewDirectory("ttrpc");

        internal Listening()
        {
            Path = System.IO.Path.Combine(_directory, "s");
            Socket.Bind(new UnixDomainSocketEndPoint(Path));
            Socket.Listen();
        }

        internal Socket Socket { get; } = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        internal string Path { get; }

        /// <summary>A directory for another socket.</summary>
        internal string Empty => Directory.CreateDirectory(System.IO.Path.Combine(_directory, "d")).FullName;

        public void Dispose()
        {
            Socket.Dispose();
            Directory.Delete(_directory, recursive: true);
        }
    }
}
