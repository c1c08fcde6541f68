using System.Diagnostics.CodeAnalysis;
using Containerd.Ttrpc;
using Google.Protobuf;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;
using RpcStatus = Google.Rpc.Status;

namespace Shim.Transport.Ttrpc;

/// <summary>
/// A client's connection. One loop reads its frames; calls run beside it and write their answers in turn. Whatever a client sends, it
/// harms at most its own connection.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "RunAsync disposes of the reader at its end; the source has no timer, and late writers still look at it.")]
internal sealed class ServerConnection : IServerConnection
{
    private readonly TtrpcServer _server;
    private readonly UnixSocket _socket;
    private readonly CancellationTokenSource _closed = new();
    private readonly FrameReader _reader;
    private readonly FrameWriter _writer;
    private readonly TtrpcLimits _limits;
    private readonly Lock _lock = new();

    // Guarded by the lock: the reader adds, calls remove themselves, the server cancels.
    private readonly Dictionary<uint, ServerCall> _calls = [];
    private int _streams;

    // The reader's alone.
    private uint _lastId;

    internal ServerConnection(TtrpcServer server, UnixSocket socket)
    {
        _server = server;
        _socket = socket;
        _limits = server.Options.Limits;
        _reader = new FrameReader(socket, server.Incoming, _limits, _closed.Token);
        _writer = new FrameWriter(socket, server.Outgoing, _limits, _closed.Token);
    }

    /// <summary>Whether an exception only says that the connection is gone, or that we closed it.</summary>
    internal static bool IsLoss(Exception e) => e is NativeException or ObjectDisposedException or OperationCanceledException;

    /// <inheritdoc/>
    public async Task RunAsync()
    {
        try
        {
            while (await NextAsync().ConfigureAwait(false))
            {
            }
        }
        catch (Exception e) when (IsLoss(e))
        {
            // The end of a connection, in one of its forms.
        }
        catch (Exception e)
        {
            Log($"ttrpc: a connection is closed: {e}");
        }
        finally
        {
            Abort();
            CancelCalls();
            _reader.Dispose();
            _socket.Dispose();
            _server.Closed(this);
        }
    }

    /// <inheritdoc/>
    public void Drain()
    {
        // ttrpc has no word for it: new calls are refused one by one.
    }

    /// <inheritdoc/>
    public void CancelCalls()
    {
        ServerCall[] calls;
        lock (_lock)
        {
            calls = [.. _calls.Values];
        }

        foreach (var call in calls)
        {
            call.Context.Cancel();
        }
    }

    /// <inheritdoc/>
    public void Abort() => _closed.Cancel();

    internal void Log(string line) => _server.Options.Log(line);

    internal void Worked() => _server.Worked();

    internal Status ToStatus(Exception e) => _server.Options.ToStatus(e);

    /// <summary>Takes an ended call from the table.</summary>
    internal void Ended(ServerCall call)
    {
        lock (_lock)
        {
            if (_calls.Remove(call.Id) && call.IsStream)
            {
                _streams--;
            }
        }
    }

    internal Task SendStatusAsync(uint id, Status status) => _writer.WriteAsync(id, FrameType.Response, FrameFlags.None, new Response
    {
        Status = new RpcStatus { Code = (int)status.StatusCode, Message = Shorten(status.Detail) },
    });

    internal Task SendEndAsync(uint id, IMessage? answer) => answer is null
        ? _writer.WriteAsync(id, FrameType.Data, FrameFlags.RemoteClosed | FrameFlags.NoData, null)
        : _writer.WriteAnswerAsync(id, answer);

    internal Task SendMessageAsync(uint id, IMessage message, CancellationToken cancellationToken) =>
        _writer.WriteAsync(id, FrameType.Data, FrameFlags.None, message, cancellationToken);

    // An error text that does not fit into a frame would leave the call without an end.
    private static string Shorten(string text) => text.Length > 64 << 10 ? text[..(64 << 10)] : text;

    // A method of its own: a frame in a variable of the loop would stay in memory, up to 4 MiB of it, until the next one comes.
    private async Task<bool> NextAsync()
    {
        if (await _reader.ReadAsync().ConfigureAwait(false) is not { } frame)
        {
            return false;
        }

        await TakeAsync(frame).ConfigureAwait(false);
        return true;
    }

    private async Task TakeAsync(Frame frame)
    {
        var kept = false;
        try
        {
            var (header, _, _) = frame;
            if (header.IsOversized)
            {
                await RefuseOversizedAsync(header).ConfigureAwait(false);
            }
            else if (header.StreamId % 2 == 0)
            {
                await RefuseAsync(header.StreamId, "StreamID must be odd for client initiated streams").ConfigureAwait(false);
            }
            else if (header.Type == FrameType.Request)
            {
                kept = await TakeRequestAsync(frame).ConfigureAwait(false);
            }
            else if (header.Type == FrameType.Data)
            {
                kept = await TakeDataAsync(frame).ConfigureAwait(false);
            }

            // Any other type may be something of a newer client: it is passed over.
        }
        finally
        {
            if (!kept)
            {
                frame.Lease?.Dispose();
            }
        }
    }

    private async Task<bool> TakeRequestAsync(Frame frame)
    {
        var id = frame.Header.StreamId;
        if (id <= _lastId)
        {
            await RefuseAsync(id, "StreamID cannot be re-used and must increment").ConfigureAwait(false);
            return false;
        }

        _lastId = id;
        Request request;
        try
        {
            request = Request.Parser.ParseFrom(frame.Body.Span);
        }
        catch (InvalidProtocolBufferException e)
        {
            await RefuseAsync(id, $"unmarshal request error: {e.Message}").ConfigureAwait(false);
            return false;
        }

        if (_server.Methods.Find(request.Service, request.Method, out var unknown) is not { } method)
        {
            await SendStatusAsync(id, new Status(StatusCode.Unimplemented, unknown)).ConfigureAwait(false);
            return false;
        }

        // A peer that does not read its answers gets no further ones to wait for.
        if (_writer.Waiting >= _limits.WaitingAnswers)
        {
            await _writer.PassAsync().ConfigureAwait(false);
        }

        if (Admit(method) is { } refusal)
        {
            await SendStatusAsync(id, refusal).ConfigureAwait(false);
            return false;
        }

        Start(new ServerCall(this, id, method, request, frame.Lease), frame);
        return true;
    }

    private Status? Admit(TtrpcMethod method)
    {
        lock (_lock)
        {
            if (_calls.Count >= _limits.Calls || ((method.TakesStream || method.GivesStream) && _streams >= _limits.Streams))
            {
                return new Status(StatusCode.ResourceExhausted, "too many calls under way on this connection");
            }
        }

        // Last, because the server counts the call from here on.
        return _server.TryBegin() ? null : new Status(StatusCode.Unavailable, "the server is shutting down");
    }

    private void Start(ServerCall call, Frame frame)
    {
        // The frame's array and the parsed envelope are let go when the handler has its message.
        frame.Lease?.ShrinkTo(frame.Body.Length);
        lock (_lock)
        {
            _calls.Add(call.Id, call);
            if (call.IsStream)
            {
                _streams++;
            }
        }

        if (frame.Header.Flags.HasFlag(FrameFlags.RemoteClosed))
        {
            call.CloseRemote();
        }

        ThreadPool.UnsafeQueueUserWorkItem(call, preferLocal: false);
    }

    private async Task<bool> TakeDataAsync(Frame frame)
    {
        var (header, body, _) = frame;
        ServerCall? call;
        lock (_lock)
        {
            call = _calls.GetValueOrDefault(header.StreamId);
        }

        if (call is null)
        {
            await RefuseAsync(header.StreamId, "StreamID is no longer active").ConfigureAwait(false);
            return false;
        }

        var kept = false;
        if (!header.Flags.HasFlag(FrameFlags.NoData))
        {
            if (call.Inbox is null || call.RemoteClosed)
            {
                await BreakAsync(call, StatusCode.InvalidArgument, "data handling error: the stream takes no data").ConfigureAwait(false);
                return false;
            }

            kept = true;
            if (!await call.Inbox.AddAsync(frame, _limits.FullStream, call.Context.CancellationToken).ConfigureAwait(false)
                && !call.Context.CancellationToken.IsCancellationRequested)
            {
                await BreakAsync(call, StatusCode.ResourceExhausted, "data handling error: the stream is full").ConfigureAwait(false);
                return true;
            }
        }
        else if (!body.IsEmpty)
        {
            await BreakAsync(call, StatusCode.InvalidArgument, "data handling error: data in a frame without data").ConfigureAwait(false);
            return false;
        }

        if (header.Flags.HasFlag(FrameFlags.RemoteClosed))
        {
            call.CloseRemote();
        }

        return kept;
    }

    private async Task RefuseOversizedAsync(FrameHeader header)
    {
        var status = new Status(
            StatusCode.ResourceExhausted,
            $"message length {header.Length} exceed maximum message size of {FrameHeader.MaxLength}");
        ServerCall? call;
        lock (_lock)
        {
            call = _calls.GetValueOrDefault(header.StreamId);
        }

        if (header.Type == FrameType.Request && header.StreamId % 2 == 1)
        {
            _lastId = Math.Max(_lastId, header.StreamId);
        }

        await (call is null || header.Type == FrameType.Request ? SendStatusAsync(header.StreamId, status) : call.BreakAsync(status)).ConfigureAwait(false);
    }

    private static Task BreakAsync(ServerCall call, StatusCode code, string detail) => call.BreakAsync(new Status(code, detail));

    private Task RefuseAsync(uint id, string detail) => SendStatusAsync(id, new Status(StatusCode.InvalidArgument, detail));
}
