using System.Collections.Concurrent;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>
/// A server on a socket of its own, with one service that has a method for every shape and every mood. It keeps what it was told and
/// what it logged.
/// </summary>
internal sealed class TtrpcFixture : IAsyncDisposable
{
    internal const string Service = "test.Moods";

    private readonly string _directory = TestRun.NewDirectory("ttrpc");
    private readonly UnixSocket _listener;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _serving;
    private int _worked;
    private int _waits;

    internal TtrpcFixture(Func<TtrpcServerOptions, TtrpcServerOptions>? change = null)
    {
        Path = System.IO.Path.Combine(_directory, "s");
        _listener = new UnixSocket(UnixSockets.Listen(Path, 4096));
        var options = new TtrpcServerOptions
        {
            Log = Log.Enqueue,
            Worked = () => Interlocked.Increment(ref _worked),
            ToStatus = e => new Status(StatusCode.FailedPrecondition, $"mapped: {e.Message}"),
        };
        Server = new TtrpcServer(Methods(), change?.Invoke(options) ?? options);
        _serving = Server.ServeAsync(_listener, _end.Token);
    }

    internal string Path { get; }

    internal TtrpcServer Server { get; }

    internal ConcurrentQueue<string> Log { get; } = [];

    /// <summary>How calls of "wait", "watch" and streams ended: with the cancellation they saw.</summary>
    internal ConcurrentQueue<string> Ends { get; } = [];

    /// <summary>Lets all calls of "wait" answer.</summary>
    internal TaskCompletionSource Gate { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal int Worked => Volatile.Read(ref _worked);

    /// <summary>How many calls of "wait" have begun.</summary>
    internal int Waits => Volatile.Read(ref _waits);

    internal TtrpcClient Client() => TtrpcClient.Connect(Path);

    internal RawPeer Raw() => RawPeer.Connect(Path);

    public async ValueTask DisposeAsync()
    {
        await Server.StopAsync(TimeSpan.Zero).WithinAsync(Poll.Deadline, "the server stops");
        await _end.CancelAsync();
        await _serving.WithinAsync(Poll.Deadline, "accepting ends");
        _end.Dispose();
        _listener.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private TtrpcMethods Methods() => new TtrpcMethods()
        .Unary(Service, "echo", StringValue.Parser, (request, _) => Task.FromResult<IMessage>(request))
        .Unary(Service, "bytes", BytesValue.Parser, (request, _) => Task.FromResult<IMessage>(new Int64Value { Value = request.Value.Length }))
        .Unary(Service, "make", Int32Value.Parser, (request, _) => Task.FromResult<IMessage>(new BytesValue { Value = ByteString.CopyFrom(new byte[request.Value]) }))
        .Unary(Service, "fail", StringValue.Parser, (request, _) => throw new RpcException(new Status(StatusCode.NotFound, request.Value)))
        .Unary(Service, "bug", StringValue.Parser, (request, _) => throw new InvalidOperationException(request.Value))
        .Unary(Service, "null", Empty.Parser, (_, _) => Task.FromResult<IMessage>(null!))
        .Unary(Service, "metadata", Empty.Parser, (_, context) => Task.FromResult<IMessage>(new StringValue { Value = string.Join(';', context.Metadata.Select(p => $"{p.Key}={p.Value}")) }))
        .Unary(Service, "block", Empty.Parser, (_, context) =>
        {
            Interlocked.Increment(ref _waits);
            Gate.Task.Wait(Poll.Deadline);
            return Task.FromResult<IMessage>(new Empty());
        })
        .Unary(Service, "wait", Empty.Parser, WaitAsync)
        .Unary(Service, "hold", BytesValue.Parser, (_, context) => WaitAsync(new Empty(), context))
        .ServerStreaming(Service, "count", Int32Value.Parser, async (request, writer, _) =>
        {
            for (var i = 1; i <= request.Value; i++)
            {
                await writer.WriteAsync(new Int32Value { Value = i });
            }

            if (request.Value < 0)
            {
                await writer.WriteAsync(new Int32Value());
                throw new RpcException(new Status(StatusCode.Aborted, "below zero"));
            }
        })
        .ServerStreaming(Service, "flood", Empty.Parser, (_, writer, context) => NoteAsync("flood", context, async () =>
        {
            var message = new BytesValue { Value = ByteString.CopyFrom(new byte[1000]) };
            while (true)
            {
                await writer.WriteAsync(message);
            }
        }))
        .ClientStreaming(Service, "sum", async (stream, _) =>
        {
            var sum = 0L;
            while (await stream.ReadAsync(Int32Value.Parser) is { } number)
            {
                sum += number.Value;
            }

            return new Int64Value { Value = sum };
        })
        .Streaming(Service, "talk", (stream, context) => NoteAsync("talk", context, async () =>
        {
            while (await stream.ReadAsync(StringValue.Parser) is { } word)
            {
                await stream.WriteAsync(new StringValue { Value = word.Value.ToUpperInvariant() });
            }
        }))
        .Streaming(Service, "deaf", (_, context) => NoteAsync("deaf", context, () => Gate.Task.WaitAsync(context.CancellationToken)));

    private async Task<IMessage> WaitAsync(Empty request, TtrpcContext context)
    {
        Interlocked.Increment(ref _waits);
        await NoteAsync("wait", context, () => Gate.Task.WaitAsync(context.CancellationToken));
        return new Empty();
    }

    private async Task NoteAsync(string what, TtrpcContext context, Func<Task> run)
    {
        try
        {
            await run();
            Ends.Enqueue(what);
        }
        catch (Exception e)
        {
            Ends.Enqueue($"{what} {e.GetType().Name} {context.CancellationToken.IsCancellationRequested}");
            throw;
        }
    }
}
