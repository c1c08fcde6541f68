using Containerd.Ttrpc;
using Google.Protobuf;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>
/// One connection to a ttrpc server, for any number of calls at a time. It does not connect again: when it is lost, its calls and all
/// later ones are Unavailable.
/// </summary>
internal sealed class TtrpcClient : IAsyncDisposable
{
    private const int IncomingBytes = 16 << 20;
    private const int OutgoingBytes = 5 << 20;

    private static readonly TtrpcLimits s_limits = new();

    private readonly UnixSocket _socket;
    private readonly string _peer;
    private readonly CancellationTokenSource _closed = new();
    private readonly FrameReader _reader;
    private readonly FrameWriter _writer;
    private readonly Lock _lock = new();
    private readonly Task _loop;

    // Guarded by the lock.
    private readonly Dictionary<uint, ClientCall> _calls = [];
    private RpcException? _lost;
    private uint _lastId;

    private TtrpcClient(UnixSocket socket, string peer)
    {
        _socket = socket;
        _peer = peer;
        _reader = new FrameReader(socket, new MemoryBudget(IncomingBytes), s_limits, _closed.Token);
        _writer = new FrameWriter(socket, new MemoryBudget(OutgoingBytes), s_limits, _closed.Token);
        _loop = ReceiveAsync();
    }

    /// <summary>Ends when the connection has ended, for whatever reason.</summary>
    internal Task Closed => _loop;

    /// <summary>Connects to a unix socket; Unavailable when nobody listens.</summary>
    internal static TtrpcClient Connect(string unixSocketPath)
    {
        try
        {
            return new TtrpcClient(UnixSocket.Connect(unixSocketPath), unixSocketPath);
        }
        catch (NativeException e)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, $"failed to connect: {e.Message}"));
        }
    }

    /// <summary>One request, one answer. Throws RpcException with the server's status, DeadlineExceeded, Cancelled or Unavailable.</summary>
    internal async Task<TResponse> CallAsync<TRequest, TResponse>(
        string service,
        string method,
        TRequest request,
        MessageParser<TResponse> parser,
        TimeSpan timeout,
        IReadOnlyList<KeyValuePair<string, string>>? metadata = null,
        CancellationToken cancellationToken = default)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
    {
        using var patience = new ClientPatience(timeout, cancellationToken);
        var call = new UnaryClientCall();
        try
        {
            await OpenAsync(call, Envelope(service, method, request, timeout, metadata), FrameFlags.None, patience).ConfigureAwait(false);
            var payload = await call.Answer.WaitAsync(patience.Token).ConfigureAwait(false);
            return parser.ParseFrom(payload);
        }
        catch (OperationCanceledException)
        {
            throw patience.Error;
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"unmarshal payload error: {e.Message}"));
        }
        finally
        {
            Forget(call);
        }
    }

    /// <summary>One request, and a stream to read from.</summary>
    internal Task<TtrpcClientStream> ServerStreamingAsync(
        string service,
        string method,
        IMessage request,
        TimeSpan timeout,
        IReadOnlyList<KeyValuePair<string, string>>? metadata = null,
        CancellationToken cancellationToken = default) =>
        StreamAsync(Envelope(service, method, request, timeout, metadata), FrameFlags.RemoteClosed, answers: false, timeout, cancellationToken);

    /// <summary>A stream to write to, and one answer to read when it is completed.</summary>
    internal Task<TtrpcClientStream> ClientStreamingAsync(
        string service,
        string method,
        TimeSpan timeout,
        IReadOnlyList<KeyValuePair<string, string>>? metadata = null,
        CancellationToken cancellationToken = default) =>
        StreamAsync(Envelope(service, method, null, timeout, metadata), FrameFlags.RemoteOpen, answers: true, timeout, cancellationToken);

    /// <summary>A stream to write to and to read from.</summary>
    internal Task<TtrpcClientStream> StreamingAsync(
        string service,
        string method,
        TimeSpan timeout,
        IReadOnlyList<KeyValuePair<string, string>>? metadata = null,
        CancellationToken cancellationToken = default) =>
        StreamAsync(Envelope(service, method, null, timeout, metadata), FrameFlags.RemoteOpen, answers: false, timeout, cancellationToken);

    /// <summary>Closes the connection; all calls end as Unavailable.</summary>
    public async ValueTask DisposeAsync()
    {
        Lose("the client was closed");
        await _loop.ConfigureAwait(false);
    }

    /// <summary>Sends a data frame of a stream.</summary>
    internal async Task SendDataAsync(uint id, FrameFlags flags, IMessage? message, ClientPatience patience)
    {
        try
        {
            await SendAsync(_writer.WriteAsync(id, FrameType.Data, flags, message, patience.Token), patience).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw patience.Error;
        }
    }

    /// <summary>Ends a stream that its owner has left. Nobody waits for it.</summary>
    internal void SendLast(uint id) =>
        Forgive(_writer.WriteAsync(id, FrameType.Data, FrameFlags.RemoteClosed | FrameFlags.NoData, null));

    /// <summary>Gives up a call; frames of its stream are thrown away from now on. False when it had ended.</summary>
    internal bool Forget(ClientCall call)
    {
        lock (_lock)
        {
            return _calls.Remove(call.Id);
        }
    }

    private static Request Envelope(
        string service,
        string method,
        IMessage? request,
        TimeSpan timeout,
        IReadOnlyList<KeyValuePair<string, string>>? metadata)
    {
        var envelope = new Request { Service = service, Method = method };
        if (request is not null)
        {
            envelope.Payload = request.ToByteString();
        }

        if (timeout != Timeout.InfiniteTimeSpan)
        {
            // Nothing would mean no deadline at all.
            envelope.TimeoutNano = timeout.Ticks <= 0 ? 1 : checked(timeout.Ticks * TimeSpan.NanosecondsPerTick);
        }

        foreach (var (key, value) in metadata ?? [])
        {
            envelope.Metadata.Add(new KeyValue { Key = key, Value = value });
        }

        return envelope;
    }

    private async Task<TtrpcClientStream> StreamAsync(
        Request envelope,
        FrameFlags flags,
        bool answers,
        TimeSpan timeout,
        CancellationToken cancellationToken)
    {
        var patience = new ClientPatience(timeout, cancellationToken);
        var call = new StreamClientCall(answers);
        try
        {
            await OpenAsync(call, envelope, flags, patience).ConfigureAwait(false);
            return new TtrpcClientStream(this, call, patience, sends: flags == FrameFlags.RemoteOpen);
        }
        catch (Exception e)
        {
            Forget(call);
            call.Inbox.Dispose();
            var error = e is OperationCanceledException ? patience.Error : e;
            patience.Dispose();
            throw error;
        }
    }

    private async Task OpenAsync(ClientCall call, Request envelope, FrameFlags flags, ClientPatience patience)
    {
        patience.Token.ThrowIfCancellationRequested();
        lock (_lock)
        {
            if (_lost is not null)
            {
                throw _lost;
            }
        }

        await SendAsync(_writer.WriteRequestAsync(() => Register(call), flags, envelope, patience.Token), patience).ConfigureAwait(false);
    }

    // In the line of the writer, so that numbers rise on the wire.
    private uint Register(ClientCall call)
    {
        lock (_lock)
        {
            if (_lost is not null)
            {
                throw _lost;
            }

            if (_lastId == uint.MaxValue)
            {
                throw new RpcException(new Status(StatusCode.Unavailable, $"the connection to {_peer} has used up its stream ids"));
            }

            _lastId = _lastId == 0 ? 1 : _lastId + 2;
            call.Id = _lastId;
            _calls.Add(_lastId, call);
            return _lastId;
        }
    }

    // A frame that has begun is written to its end, whether its caller still waits or not.
    private async Task SendAsync(Task write, ClientPatience patience)
    {
        try
        {
            await write.WaitAsync(patience.Token).ConfigureAwait(false);
        }
        catch (MessageTooLargeException e)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, e.Message));
        }
        catch (OperationCanceledException) when (patience.Token.IsCancellationRequested)
        {
            Forgive(write);
            throw;
        }
        catch (Exception e) when (ServerConnection.IsLoss(e))
        {
            throw Lose($"the connection to {_peer} was lost");
        }
    }

    private static void Forgive(Task task) =>
        task.ContinueWith(static done => _ = done.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);

    private async Task ReceiveAsync()
    {
        try
        {
            while (await NextAsync().ConfigureAwait(false))
            {
            }
        }
        catch (Exception e) when (ServerConnection.IsLoss(e))
        {
            // All ends of a connection are one to those who wait for it.
        }
        finally
        {
            Lose($"the connection to {_peer} was lost");
            _reader.Dispose();
            _socket.Dispose();
        }
    }

    // A method of its own, so that no frame stays in memory until the next one comes.
    private async Task<bool> NextAsync()
    {
        if (await _reader.ReadAsync().ConfigureAwait(false) is not { } frame)
        {
            return false;
        }

        await TakeAsync(frame).ConfigureAwait(false);
        return true;
    }

    private async ValueTask TakeAsync(Frame frame)
    {
        ClientCall? call;
        lock (_lock)
        {
            call = _calls.GetValueOrDefault(frame.Header.StreamId);
        }

        if (call is null || frame.Header.Type is not (FrameType.Response or FrameType.Data))
        {
            // The answer to a call that was given up, or something of a newer server.
            frame.Lease?.Dispose();
            return;
        }

        var last = true;
        if (frame.Header.IsOversized)
        {
            call.Fail(new RpcException(new Status(
                StatusCode.ResourceExhausted,
                $"message length {frame.Header.Length} exceed maximum message size of {FrameHeader.MaxLength}")));
        }
        else
        {
            last = await call.TakeAsync(frame, s_limits.FullStream, _closed.Token).ConfigureAwait(false);
        }

        if (last)
        {
            Forget(call);
        }
    }

    /// <summary>Ends everything; the first reason wins.</summary>
    private RpcException Lose(string why)
    {
        ClientCall[] calls;
        RpcException error;
        lock (_lock)
        {
            if (_lost is not null)
            {
                return _lost;
            }

            error = _lost = new RpcException(new Status(StatusCode.Unavailable, why));
            calls = [.. _calls.Values];
            _calls.Clear();
        }

        foreach (var call in calls)
        {
            call.Fail(error);
        }

        _closed.Cancel();
        return error;
    }
}
