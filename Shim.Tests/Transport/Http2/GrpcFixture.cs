using System.Collections.Concurrent;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;
using Shim.Tests.Support;
using Shim.Transport;
using Shim.Transport.Http2;

namespace Shim.Tests.Transport.Http2;

/// <summary>A gRPC server on a socket of its own, with a method for every mood. It keeps what it was told and what it logged.</summary>
internal sealed class GrpcFixture : IAsyncDisposable
{
    internal const string Service = "test.Moods";

    private readonly string _directory = TestRun.NewDirectory("grpc");
    private readonly UnixSocket _listener;
    private readonly Task _serving;
    private int _worked;
    private int _waits;

    internal GrpcFixture()
    {
        Path = System.IO.Path.Combine(_directory, "s");
        _listener = new UnixSocket(UnixSockets.Listen(Path, 4096));
        Server = new GrpcServer(Methods(), new ServerOptions
        {
            Log = Log.Enqueue,
            Worked = () => Interlocked.Increment(ref _worked),
            ToStatus = e => new Status(e is OperationCanceledException ? StatusCode.Cancelled : StatusCode.FailedPrecondition, $"mapped: {e.Message}"),
        });
        _serving = Server.ServeAsync(_listener, CancellationToken.None);
    }

    internal string Path { get; }

    internal GrpcServer Server { get; }

    internal ConcurrentQueue<string> Log { get; } = [];

    /// <summary>How calls of "wait" and "flood" ended: with the cancellation they saw.</summary>
    internal ConcurrentQueue<string> Ends { get; } = [];

    /// <summary>Lets all calls of "wait" answer.</summary>
    internal TaskCompletionSource Gate { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal int Worked => Volatile.Read(ref _worked);

    /// <summary>How many calls of "wait" have begun.</summary>
    internal int Waits => Volatile.Read(ref _waits);

    internal RawHttp2Peer Raw() => RawHttp2Peer.Connect(Path);

    public async ValueTask DisposeAsync()
    {
        await Server.StopAsync(TimeSpan.Zero).WithinAsync(Poll.Deadline, "the server stops");
        await _serving.WithinAsync(Poll.Deadline, "accepting ends");
        _listener.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private List<GrpcMethod> Methods() =>
    [
        Method("echo", StringValue.Parser, (request, _) => Task.FromResult<IMessage?>(request)),
        Method("bytes", BytesValue.Parser, (request, _) => Task.FromResult<IMessage?>(new Int64Value { Value = ((BytesValue)request).Value.Length })),
        Method("make", Int32Value.Parser, (request, _) => Task.FromResult<IMessage?>(new BytesValue { Value = ByteString.CopyFrom(new byte[((Int32Value)request).Value]) })),
        Method("fail", StringValue.Parser, (request, _) => throw new RpcException(new Status(StatusCode.NotFound, ((StringValue)request).Value))),
        Method("bug", StringValue.Parser, (request, _) => throw new InvalidOperationException(((StringValue)request).Value)),
        Method("trailer", StringValue.Parser, (request, call) =>
        {
            call.Context.ResponseTrailers.Add("mood", ((StringValue)request).Value);
            return Task.FromResult<IMessage?>(new Empty());
        }),
        Method("wait", Empty.Parser, async (_, call) =>
        {
            Interlocked.Increment(ref _waits);
            await NoteAsync("wait", call, () => Gate.Task.WaitAsync(call.CancellationToken));
            return new Empty();
        }),
        Method("count", Int32Value.Parser, async (request, call) =>
        {
            for (var i = 1; i <= ((Int32Value)request).Value; i++)
            {
                await call.WriteAsync(new Int32Value { Value = i });
            }

            return null;
        }),
        Method("flood", Empty.Parser, async (_, call) =>
        {
            await NoteAsync("flood", call, async () =>
            {
                while (true)
                {
                    await call.WriteAsync(new BytesValue { Value = ByteString.CopyFrom(new byte[1000]) });
                }
            });
            return null;
        }),
    ];

    private static GrpcMethod Method(string name, MessageParser parser, Func<IMessage, GrpcCall, Task<IMessage?>> answer) => new($"/{Service}/{name}", parser, answer);

    private async Task NoteAsync(string what, GrpcCall call, Func<Task> run)
    {
        try
        {
            await run();
            Ends.Enqueue(what);
        }
        catch (Exception e)
        {
            Ends.Enqueue($"{what} {e.GetType().Name} {call.CancellationToken.IsCancellationRequested}");
            throw;
        }
    }
}
