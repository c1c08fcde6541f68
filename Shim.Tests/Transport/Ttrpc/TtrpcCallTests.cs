using System.Diagnostics;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>The library's client and server with each other: calls, errors, deadlines, streams, sizes.</summary>
public sealed class TtrpcCallTests
{
    // A deadline that comes, but not before the handler has begun.
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(2);

    private TtrpcFixture _fixture = null!;
    private TtrpcClient _client = null!;

    [SetUp]
    public async Task Start()
    {
        _fixture = new TtrpcFixture();
        _client = _fixture.Client();
    }

    [TearDown]
    public async Task End()
    {
        await _client.DisposeAsync();
        await _fixture.DisposeAsync();
        Assert.That(_fixture.Log, Is.Empty);
    }

    [TestCase("")]
    [TestCase("hello")]
    public async Task Call_Echo_Answers(string text)
    {
        Assert.That(await EchoAsync(text), Is.EqualTo(text));
        await Poll.For(() => _fixture.Worked, worked => worked == 1, Poll.Deadline, "the call is counted");
    }

    [TestCase("fail", StatusCode.NotFound, "text")]
    [TestCase("bug", StatusCode.FailedPrecondition, "mapped: text")]
    [TestCase("nothing", StatusCode.Unimplemented, "method nothing")]
    public void Call_Fails_WithTheStatus(string method, StatusCode code, string detail) =>
        AssertStatus(code, detail, () => CallAsync(method, new StringValue { Value = "text" }, Empty.Parser));

    [Test]
    public void Call_UnknownService_Unimplemented() => AssertStatus(
        StatusCode.Unimplemented,
        "service test.None",
        () => _client.CallAsync("test.None", "echo", new Empty(), Empty.Parser, Poll.Deadline));

    [Test]
    public void Call_NoAnswer_Internal() => AssertStatus(StatusCode.Internal, "the method gave no answer", () => CallAsync("null", new Empty(), Empty.Parser));

    [Test]
    public void Call_AnswerOfAnotherType_Internal()
    {
        var error = Assert.ThrowsAsync<RpcException>(() => CallAsync("echo", new StringValue { Value = "\u0001\u0002\u0003" }, Struct.Parser));
        Assert.That(error!.StatusCode, Is.EqualTo(StatusCode.Internal));
    }

    [Test]
    public async Task Call_Metadata_Arrives()
    {
        var answer = await _client.CallAsync(
            TtrpcFixture.Service, "metadata", new Empty(), StringValue.Parser, Poll.Deadline, [new("Key", "1"), new("other", "ä"), new("Key", "2")]);
        Assert.That(answer.Value, Is.EqualTo("Key=1;other=ä;Key=2"));
    }

    [Test]
    public async Task Call_ManyAtOnce_EachGetsItsOwn()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 2000).Select(i => EchoAsync($"{i} {new string('x', i % 700 * 10)}")))
            .WithinAsync(Poll.Deadline, "2,000 calls");
        Assert.That(answers.Select(answer => int.Parse(answer.Split(' ')[0])), Is.EqualTo(Enumerable.Range(0, 2000)));
    }

    [Test]
    public async Task Call_OthersWait_Overtakes()
    {
        var waiting = Enumerable.Range(0, 500).Select(_ => CallAsync("wait", new Empty(), Empty.Parser)).ToList();
        await Poll.For(() => _fixture.Waits, waits => waits == 500, Poll.Deadline, "all wait");
        Assert.That(await EchoAsync("quick"), Is.EqualTo("quick"));
        Assert.That(waiting.Any(task => task.IsCompleted), Is.False);
        _fixture.Gate.SetResult();
        await Task.WhenAll(waiting).WithinAsync(Poll.Deadline, "they answer");
    }

    [Test]
    public async Task Call_HandlerBlocksItsThread_OthersAnswer()
    {
        var blocked = CallAsync("block", new Empty(), Empty.Parser);
        await Poll.For(() => _fixture.Waits, waits => waits == 1, Poll.Deadline, "it blocks");
        Assert.That(await EchoAsync("quick"), Is.EqualTo("quick"));
        _fixture.Gate.SetResult();
        await blocked.WithinAsync(Poll.Deadline, "the blocked one answers");
    }

    [Test]
    public async Task Call_Deadline_EndsOnBothSides()
    {
        AssertStatus(
            StatusCode.DeadlineExceeded,
            "context deadline exceeded",
            () => _client.CallAsync(TtrpcFixture.Service, "wait", new Empty(), Empty.Parser, s_soon));
        await Poll.For(() => _fixture.Ends, ends => ends.SequenceEqual(["wait TaskCanceledException True"]), Poll.Deadline, "the handler gave up");
        Assert.That(await EchoAsync("after"), Is.EqualTo("after"));
    }

    [Test]
    public async Task Call_Cancelled_OnlyTheWaitEnds()
    {
        using var cancel = new CancellationTokenSource();
        var call = _client.CallAsync(
            TtrpcFixture.Service, "wait", new Empty(), Empty.Parser, Timeout.InfiniteTimeSpan, cancellationToken: cancel.Token);
        await Poll.For(() => _fixture.Waits, waits => waits == 1, Poll.Deadline, "it waits");
        await cancel.CancelAsync();
        AssertStatus(StatusCode.Cancelled, "context canceled", () => call);
        Assert.That(await EchoAsync("after"), Is.EqualTo("after"));
        Assert.That(_fixture.Ends, Is.Empty);
    }

    [Test]
    public async Task Dispose_CallsUnderWay_UnavailableAndCancelled()
    {
        var call = CallAsync("wait", new Empty(), Empty.Parser);
        await Poll.For(() => _fixture.Waits, waits => waits == 1, Poll.Deadline, "it waits");
        await _client.DisposeAsync();
        AssertStatus(StatusCode.Unavailable, "the client was closed", () => call);
        AssertStatus(StatusCode.Unavailable, "the client was closed", () => EchoAsync("late"));
        await Poll.For(() => _fixture.Ends, ends => ends.SequenceEqual(["wait TaskCanceledException True"]), Poll.Deadline, "the handler gave up");
    }

    [Test]
    public void Connect_NobodyListens_Unavailable()
    {
        var error = Assert.Throws<RpcException>(() => TtrpcClient.Connect("/nonexistent/socket"));
        Assert.That(error!.StatusCode, Is.EqualTo(StatusCode.Unavailable));
    }

    [TestCase(4000)]
    [TestCase(4096)]
    [TestCase(5000)]
    [TestCase(70_000)]
    [TestCase((4 << 20) - 100)]
    public async Task Call_AnySize_BothWays(int size)
    {
        var sent = await CallAsync("bytes", new BytesValue { Value = ByteString.CopyFrom(new byte[size]) }, Int64Value.Parser);
        Assert.That(sent.Value, Is.EqualTo(size));
        var made = await CallAsync("make", new Int32Value { Value = size }, BytesValue.Parser);
        Assert.That(made.Value.Length, Is.EqualTo(size));
    }

    // Every length around the edge of the small buffer: an answer is written by hand there.
    [Test]
    public async Task Call_SizesAroundTheBuffer_AllRight()
    {
        foreach (var size in Enumerable.Range(0, 300).Concat(Enumerable.Range(4060, 60)).Concat(Enumerable.Range(16370, 30)))
        {
            var text = new string('y', size);
            Assert.That(await EchoAsync(text), Is.EqualTo(text));
        }
    }

    [Test]
    public async Task Call_TooLarge_ResourceExhaustedAndTheConnectionStays()
    {
        var request = new BytesValue { Value = ByteString.CopyFrom(new byte[4 << 20]) };
        Assert.That(Assert.ThrowsAsync<RpcException>(() => CallAsync("bytes", request, Int64Value.Parser))!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        var error = Assert.ThrowsAsync<RpcException>(() => CallAsync("make", new Int32Value { Value = 4 << 20 }, BytesValue.Parser));
        Assert.That(error!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
        Assert.That(error.Status.Detail, Does.Contain("exceed maximum message size of 4194304"));
        Assert.That(await EchoAsync("after"), Is.EqualTo("after"));
    }

    [Test]
    public async Task ServerStream_Numbers_InOrderThenTheEnd()
    {
        using var stream = await _client.ServerStreamingAsync(TtrpcFixture.Service, "count", new Int32Value { Value = 1000 }, Poll.Deadline);
        for (var i = 1; i <= 1000; i++)
        {
            Assert.That((await stream.ReadAsync(Int32Value.Parser))?.Value, Is.EqualTo(i));
        }

        Assert.That(await stream.ReadAsync(Int32Value.Parser), Is.Null);
        Assert.That(await stream.ReadAsync(Int32Value.Parser), Is.Null);
    }

    [Test]
    public async Task ServerStream_Fails_MessagesThenTheStatus()
    {
        using var stream = await _client.ServerStreamingAsync(TtrpcFixture.Service, "count", new Int32Value { Value = -1 }, Poll.Deadline);
        Assert.That(await stream.ReadAsync(Int32Value.Parser), Is.Not.Null);
        AssertStatus(StatusCode.Aborted, "below zero", () => stream.ReadAsync(Int32Value.Parser));
    }

    [Test]
    public async Task ClientStream_Numbers_Summed()
    {
        using var stream = await _client.ClientStreamingAsync(TtrpcFixture.Service, "sum", Poll.Deadline);
        for (var i = 0; i <= 1000; i++)
        {
            await stream.WriteAsync(new Int32Value { Value = i });
        }

        await stream.CompleteAsync();
        Assert.That((await stream.ReadAsync(Int64Value.Parser))?.Value, Is.EqualTo(500_500));
        Assert.That(await stream.ReadAsync(Int64Value.Parser), Is.Null);
    }

    [Test]
    public async Task Stream_Talk_BothWays()
    {
        using var stream = await _client.StreamingAsync(TtrpcFixture.Service, "talk", Poll.Deadline);
        foreach (var word in new[] { "one", "", "two", new string('z', 100_000) })
        {
            await stream.WriteAsync(new StringValue { Value = word });
            Assert.That((await stream.ReadAsync(StringValue.Parser))?.Value, Is.EqualTo(word.ToUpperInvariant()));
        }

        await stream.CompleteAsync();
        Assert.That(await stream.ReadAsync(StringValue.Parser), Is.Null);
        Assert.That(_fixture.Ends, Is.EqualTo(new[] { "talk" }));
    }

    [Test]
    public async Task Stream_ClientLeaves_TheHandlerSeesTheEnd()
    {
        var stream = await _client.StreamingAsync(TtrpcFixture.Service, "talk", Poll.Deadline);
        await stream.WriteAsync(new StringValue { Value = "word" });
        stream.Dispose();
        await Poll.For(() => _fixture.Ends, ends => ends.SequenceEqual(["talk"]), Poll.Deadline, "the handler ended");
        Assert.That(await EchoAsync("after"), Is.EqualTo("after"));
    }

    [Test]
    public async Task Stream_Deadline_EndsTheRead()
    {
        using var stream = await _client.StreamingAsync(TtrpcFixture.Service, "deaf", s_soon);
        AssertStatus(StatusCode.DeadlineExceeded, "context deadline exceeded", () => stream.ReadAsync(StringValue.Parser));
        await Poll.For(() => _fixture.Ends, ends => ends.Count == 1, Poll.Deadline, "the handler gave up");
    }

    [Test]
    public async Task Stream_ClientDoesNotRead_OnlyThatStreamEnds()
    {
        using var stream = await _client.ServerStreamingAsync(TtrpcFixture.Service, "flood", new Empty(), Poll.Deadline);

        // Until the stream is full and holds the connection up, for as long as it is given to be read.
        var held = TimeSpan.Zero;
        for (var clock = Stopwatch.StartNew(); held < new TtrpcLimits().FullStream / 2; held = clock.Elapsed - held)
        {
            Assert.That(clock.Elapsed, Is.LessThan(Poll.Deadline));
            held = clock.Elapsed;
            Assert.That(await EchoAsync("beside"), Is.EqualTo("beside"));
        }

        var error = Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await stream.ReadAsync(BytesValue.Parser) is not null)
            {
            }
        });
        Assert.That(error!.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted));
    }

    [Test]
    public async Task Stream_HandlerDoesNotRead_EndsResourceExhausted()
    {
        using var stream = await _client.StreamingAsync(TtrpcFixture.Service, "deaf", Poll.Deadline);
        var error = Assert.ThrowsAsync<RpcException>(async () =>
        {
            for (var i = 0; i < 40; i++)
            {
                await stream.WriteAsync(new StringValue { Value = "word" });
            }

            await stream.ReadAsync(StringValue.Parser);
        });
        Assert.That(error!.Status, Is.EqualTo(new Status(StatusCode.ResourceExhausted, "data handling error: the stream is full")));
        Assert.That(await EchoAsync("after"), Is.EqualTo("after"));
        await Poll.For(() => _fixture.Ends, ends => ends.SequenceEqual(["deaf TaskCanceledException True"]), Poll.Deadline, "the handler gave up");
    }

    private static void AssertStatus(StatusCode code, string detail, Func<Task> action) =>
        Assert.That(Assert.ThrowsAsync<RpcException>(() => action().WithinAsync(Poll.Deadline, "the call ends"))!.Status, Is.EqualTo(new Status(code, detail)));

    private Task<T> CallAsync<T>(string method, IMessage request, MessageParser<T> parser)
        where T : IMessage<T> =>
        _client.CallAsync(TtrpcFixture.Service, method, request, parser, Poll.Deadline);

    private async Task<string> EchoAsync(string text) => (await CallAsync("echo", new StringValue { Value = text }, StringValue.Parser)).Value;
}
