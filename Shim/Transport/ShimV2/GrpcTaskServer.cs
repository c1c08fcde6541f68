using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.IO.Pipelines;
using Containerd;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Shim.Tasks;
using Shim.Transport.Grpc;

namespace Shim.Transport.ShimV2;

/// <summary>
/// The task API on gRPC, version 3. Calls of one request and one answer are all it has, so that bare Kestrel does: a frame in, a frame out, the status in the
/// trailers. The gRPC package for servers would cost every shim half a megabyte more.
/// </summary>
internal sealed class GrpcTaskServer : ITaskServer, IMethodTable, IHttpApplication<IFeatureCollection>
{
    private const string Service = "/containerd.task.v3.Task/";

    // Compressed or not, then the length.
    private const int PrefixLength = 5;

    private readonly Dictionary<string, Func<ReadOnlySequence<byte>, CancellationToken, Task<IMessage>>> _methods = new(StringComparer.Ordinal);
    private readonly RequestBudget _budget = new();
    private readonly TaskLog _log;
    private readonly Action _worked;
    private KestrelServer? _server;

    private GrpcTaskServer(TaskLog log, Action worked) => (_log, _worked) = (log, worked);

    /// <summary>Serves on an inherited listening socket.</summary>
    internal static GrpcTaskServer Start(int descriptor, TaskApi api, TaskLog log, Action worked)
    {
        var server = new GrpcTaskServer(log, worked);
        TaskMethods.AddTo(server, api);
        server._server = BareKestrel.StartAsync((ulong)descriptor, server, new NoServices(), log).GetAwaiter().GetResult();
        return server;
    }

    /// <inheritdoc/>
    public async Task StopAsync(TimeSpan grace)
    {
        using var limit = new CancellationTokenSource(grace);
        try
        {
            await _server!.StopAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // A client that does not let go.
        }
    }

    /// <inheritdoc/>
    public void Add<TRequest>(string method, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, Task<IMessage>> handler)
        where TRequest : class, IMessage<TRequest> =>
        _methods.Add(Service + method, (body, cancellationToken) => handler(Parse(parser, body), cancellationToken));

    /// <inheritdoc/>
    public IFeatureCollection CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    /// <inheritdoc/>
    public void DisposeContext(IFeatureCollection context, Exception? exception)
    {
    }

    /// <inheritdoc/>
    public async Task ProcessRequestAsync(IFeatureCollection context)
    {
        var request = context.GetRequiredFeature<IHttpRequestFeature>();
        var response = context.GetRequiredFeature<IHttpResponseFeature>();
        var body = context.GetRequiredFeature<IHttpResponseBodyFeature>();
        var trailers = context.GetRequiredFeature<IHttpResponseTrailersFeature>();
        response.Headers.ContentType = "application/grpc";
        Status status;
        try
        {
            if (!_methods.TryGetValue(request.Path, out var method))
            {
                throw new TaskException(ErrorKind.Unimplemented, $"unknown method {request.Path}");
            }

            var aborted = context.GetRequiredFeature<IHttpRequestLifetimeFeature>().RequestAborted;
            using var deadline = CancellationTokenSource.CreateLinkedTokenSource(aborted);
            if (Timeout(request.Headers["grpc-timeout"]) is { } limit)
            {
                deadline.CancelAfter(limit);
            }

            using var place = _budget.Apply(context, context.GetRequiredFeature<IRequestBodyPipeFeature>().Reader);
            var answer = await AnswerAsync(context.GetRequiredFeature<IRequestBodyPipeFeature>().Reader, method, deadline.Token, aborted).ConfigureAwait(false);
            await body.StartAsync(CancellationToken.None).ConfigureAwait(false);
            await WriteAsync(body.Writer, answer).ConfigureAwait(false);
            status = Status.DefaultSuccess;
        }
        catch (Exception e)
        {
            if (!ErrorKinds.IsExpected(e))
            {
                _log.Error(e.ToString());
            }

            status = ErrorKinds.ToStatus(e);
        }

        var target = response.HasStarted ? trailers.Trailers : response.Headers;
        target["grpc-status"] = ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture);
        if (status.Detail.Length > 0)
        {
            target["grpc-message"] = Uri.EscapeDataString(status.Detail);
        }

        await body.CompleteAsync().ConfigureAwait(false);
        _worked();
    }

    private static async Task<IMessage> AnswerAsync(
        PipeReader reader, Func<ReadOnlySequence<byte>, CancellationToken, Task<IMessage>> method, CancellationToken deadline, CancellationToken aborted)
    {
        try
        {
            Task<IMessage> answering;
            var result = await reader.ReadAsync(deadline).ConfigureAwait(false);
            while (!result.IsCompleted)
            {
                if (result.Buffer.Length > UnixChannel.MaxMessageBytes + PrefixLength)
                {
                    throw new TaskException(ErrorKind.Exhausted, $"the message is larger than {UnixChannel.MaxMessageBytes} bytes");
                }

                reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
                result = await reader.ReadAsync(deadline).ConfigureAwait(false);
            }

            try
            {
                answering = method(Message(result.Buffer), deadline);
            }
            finally
            {
                reader.AdvanceTo(result.Buffer.End);
            }

            return await answering.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !aborted.IsCancellationRequested)
        {
            throw TaskException.Timeout("context deadline exceeded");
        }
    }

    private static ReadOnlySequence<byte> Message(ReadOnlySequence<byte> body)
    {
        Span<byte> prefix = stackalloc byte[PrefixLength];
        if (body.Length < PrefixLength)
        {
            throw TaskException.Invalid("the call has no message");
        }

        body.Slice(0, PrefixLength).CopyTo(prefix);
        if (prefix[0] != 0)
        {
            throw new TaskException(ErrorKind.Unimplemented, "compressed messages are not supported");
        }

        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        return length == body.Length - PrefixLength ? body.Slice(PrefixLength) : throw TaskException.Invalid("the message has another length than it says");
    }

    private static async Task WriteAsync(PipeWriter writer, IMessage answer)
    {
        var length = answer.CalculateSize();
        var prefix = writer.GetSpan(PrefixLength);
        prefix[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(prefix[1..], (uint)length);
        writer.Advance(PrefixLength);
        answer.WriteTo(writer);
        await writer.FlushAsync().ConfigureAwait(false);
    }

    private static TRequest Parse<TRequest>(MessageParser<TRequest> parser, ReadOnlySequence<byte> body)
        where TRequest : class, IMessage<TRequest>
    {
        try
        {
            return parser.ParseFrom(body);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw TaskException.Invalid($"cannot read the message: {e.Message}", e);
        }
    }

    /// <summary>A number of at most eight digits and a unit from hours down to nanoseconds; null when there is none.</summary>
    private static TimeSpan? Timeout(string? text)
    {
        if (text is not { Length: > 1 } || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            return null;
        }

        var limit = text[^1] switch
        {
            'H' => TimeSpan.FromHours(count),
            'M' => TimeSpan.FromMinutes(count),
            'S' => TimeSpan.FromSeconds(count),
            'm' => TimeSpan.FromMilliseconds(count),
            'u' => TimeSpan.FromMicroseconds(count),
            'n' => TimeSpan.FromTicks(count / TimeSpan.NanosecondsPerTick),
            _ => (TimeSpan?)null,
        };

        // As good as none, and more than a timer can hold.
        return limit < TimeSpan.FromDays(40) ? limit : null;
    }

    private sealed class NoServices : IServiceProvider
    {
        public object? GetService(Type serviceType) => null;
    }
}
