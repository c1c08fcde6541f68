using System.Diagnostics.CodeAnalysis;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>
/// A client's connection. One loop reads its frames; calls run beside it and write their answers in turn. Whatever a client sends, it harms at most its own
/// connection.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "RunAsync disposes of the link at its end; the source has no timer, and late writers still look at it.")]
internal sealed class GrpcConnection : IServerConnection
{
    // Every caller that waits for an exit is a call.
    private const int MaxCalls = 4096;

    private static readonly TimeSpan s_lastWord = TimeSpan.FromSeconds(1);

    private readonly GrpcServer _server;
    private readonly UnixSocket _socket;
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _lock = new();

    // Guarded by the lock: the reader adds, calls remove themselves, the server cancels.
    private readonly Dictionary<int, GrpcCall> _calls = [];

    // The reader's alone, but for the last word to a client.
    private int _lastId;

    internal GrpcConnection(GrpcServer server, UnixSocket socket)
    {
        _server = server;
        _socket = socket;
        Link = new Http2Link(socket, _closed.Token);
    }

    internal GrpcServer Server => _server;

    internal Http2Link Link { get; }

    /// <inheritdoc/>
    public async Task RunAsync()
    {
        try
        {
            // Ours may go first: a client may wait for it.
            await Link.Output.SendAsync(Http2Link.Greet(new FrameBuffer(32)).Written).ConfigureAwait(false);
            if (await Link.ExpectAsync(Http2Link.Preface).ConfigureAwait(false))
            {
                while (await Link.NextAsync().ConfigureAwait(false) is { } header)
                {
                    await TakeAsync(header).ConfigureAwait(false);
                }
            }
        }
        catch (Http2Exception e)
        {
            _server.Options.Log($"a connection is closed: {e.Message}");
            await SayGoodbyeAsync(e.Code).ConfigureAwait(false);
        }
        catch (Exception e) when (e is NativeException or ObjectDisposedException or OperationCanceledException or EndOfStreamException)
        {
            // The end of a connection, in one of its forms.
        }
        catch (Exception e)
        {
            _server.Options.Log($"a connection is closed: {e}");
        }
        finally
        {
            Abort();
            foreach (var call in Calls())
            {
                call.Lose();
            }

            Link.Dispose();
            _socket.Dispose();
            _server.Closed(this);
        }
    }

    /// <inheritdoc/>
    public void Drain() => _ = SayGoodbyeAsync(Http2ErrorCode.NoError);

    /// <inheritdoc/>
    public void CancelCalls()
    {
        foreach (var call in Calls())
        {
            call.Cancel();
        }
    }

    /// <inheritdoc/>
    public void Abort() => _closed.Cancel();

    /// <summary>Takes an ended call from the table.</summary>
    internal void Ended(GrpcCall call)
    {
        Link.Windows.Close(call.Id);
        lock (_lock)
        {
            _calls.Remove(call.Id);
        }
    }

    private GrpcCall[] Calls()
    {
        lock (_lock)
        {
            return [.. _calls.Values];
        }
    }

    private GrpcCall? Find(int id)
    {
        lock (_lock)
        {
            return _calls.GetValueOrDefault(id);
        }
    }

    private async Task TakeAsync(Http2FrameHeader header)
    {
        switch (header.Type)
        {
            case Http2FrameType.Headers:
                await TakeHeadersAsync(header).ConfigureAwait(false);
                break;
            case Http2FrameType.Data:
                await TakeDataAsync(header).ConfigureAwait(false);
                break;
            case Http2FrameType.ResetStream:
                _ = await Link.ReadCodeAsync(header).ConfigureAwait(false);
                Find(header.StreamId)?.Lose();
                break;
            default:
                await Link.ReadOtherAsync(header).ConfigureAwait(false);
                break;
        }
    }

    private async Task TakeHeadersAsync(Http2FrameHeader header)
    {
        var id = header.StreamId;
        if (id % 2 == 0)
        {
            throw new Http2Exception(Http2ErrorCode.Protocol, $"a client's stream has the number {id}");
        }

        var headers = await Link.ReadHeadersAsync(header).ConfigureAwait(false);
        if (id > _lastId)
        {
            _lastId = id;
            await BeginAsync(id, headers, header.Has(Http2Flags.EndStream)).ConfigureAwait(false);
        }
        else if (header.Has(Http2Flags.EndStream))
        {
            // Trailers; gRPC's clients have none.
            Find(id)?.EndRequest();
        }
    }

    private async Task TakeDataAsync(Http2FrameHeader header)
    {
        if (header.StreamId > _lastId || header.StreamId == 0)
        {
            throw new Http2Exception(Http2ErrorCode.Protocol, $"data for stream {header.StreamId}, which has not begun");
        }

        // A stream that has ended here may not yet have ended there.
        var call = Find(header.StreamId);
        await Link.ReadDataAsync(header, call is null ? static _ => { } : call.Take).ConfigureAwait(false);
        if (header.Has(Http2Flags.EndStream))
        {
            call?.EndRequest();
        }
    }

    private async Task BeginAsync(int id, List<KeyValuePair<string, string>> headers, bool ended)
    {
        string method = "", path = "", type = "", encoding = "", timeout = "";
        foreach (var (name, value) in headers)
        {
            switch (name)
            {
                case ":method": method = value; break;
                case ":path": path = value; break;
                case "content-type": type = value; break;
                case "grpc-encoding": encoding = value; break;
                case "grpc-timeout": timeout = value; break;
                default: break;
            }
        }

        if (method != "POST" || !type.StartsWith("application/grpc", StringComparison.Ordinal))
        {
            // Not gRPC at all: the answer is one of HTTP.
            await Link.Output.SendAsync(new FrameBuffer().Begin(Http2FrameType.Headers, Http2Flags.EndHeaders | Http2Flags.EndStream, id)
                .Header(":status", method == "POST" ? "415" : "405").End().Written).ConfigureAwait(false);
            if (!ended)
            {
                await Link.Output.ResetAsync(id, Http2ErrorCode.NoError).ConfigureAwait(false);
            }

            return;
        }

        if (!TryAdd(id, path, out var call))
        {
            await Link.Output.ResetAsync(id, Http2ErrorCode.RefusedStream).ConfigureAwait(false);
            return;
        }

        call.Limit(GrpcText.Timeout(timeout));
        if (call.Method is null)
        {
            call.Refuse(new Status(StatusCode.Unimplemented, $"unknown method {path}"));
        }
        else if (encoding is not ("" or "identity"))
        {
            call.Refuse(new Status(StatusCode.Unimplemented, $"messages in {encoding} are not supported"));
        }

        if (ended)
        {
            call.EndRequest();
        }
    }

    private bool TryAdd(int id, string path, [NotNullWhen(true)] out GrpcCall? call)
    {
        call = null;
        lock (_lock)
        {
            // Last, because the server counts the call from here on.
            if (_closed.IsCancellationRequested || _calls.Count >= MaxCalls || !_server.TryBegin())
            {
                return false;
            }

            call = new GrpcCall(this, id, path, _server.Find(path));
            _calls.Add(id, call);
        }

        Link.Windows.Open(id);
        return true;
    }

    private async Task SayGoodbyeAsync(Http2ErrorCode code)
    {
        try
        {
            await Link.Output.SendAsync(new FrameBuffer(32).Begin(Http2FrameType.GoAway, Http2Flags.None, 0)
                .Number((uint)Volatile.Read(ref _lastId)).Number((uint)code).End().Written).WithinAsync(s_lastWord).ConfigureAwait(false);
        }
        catch (Exception e) when (e is NativeException or ObjectDisposedException or OperationCanceledException or TimeoutException)
        {
            // Who is gone or does not read need not be told.
        }
    }
}
