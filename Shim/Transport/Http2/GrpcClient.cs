using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>A connection to a gRPC server, for calls that are answered with nothing but their status, one at a time.</summary>
[SuppressMessage("Design", "CA1001", Justification = "DisposeAsync is its end; the source has no timer.")]
internal sealed class GrpcClient : IAsyncDisposable
{
    // HPACK's fixed table.
    private const int MethodPost = 3;
    private const int SchemeHttp = 6;

    private readonly UnixSocket _socket;
    private readonly CancellationTokenSource _closed = new();
    private readonly Http2Link _link;
    private int _stream = -1;

    private GrpcClient(UnixSocket socket) => (_socket, _link) = (socket, new Http2Link(socket, _closed.Token));

    /// <summary>Connects. Throws NativeException when nobody listens.</summary>
    internal static async Task<GrpcClient> ConnectAsync(string socketPath, CancellationToken cancellationToken)
    {
        var client = new GrpcClient(UnixSocket.Connect(socketPath));
        try
        {
            await client._link.Output.SendAsync(Http2Link.Greet(new FrameBuffer(64).Octets(Http2Link.Preface.Span)).Written).WaitAsync(cancellationToken).ConfigureAwait(false);
            return client;
        }
        catch
        {
            await client.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Calls a method. Throws RpcException with the server's status, or Unavailable when the connection ended; after that the client can only be disposed of.
    /// </summary>
    internal async Task CallAsync(string path, IMessage request, TimeSpan limit, CancellationToken cancellationToken)
    {
        using var deadline = new Patience(limit, cancellationToken);
        using var end = deadline.Token.UnsafeRegister(static closed => ((CancellationTokenSource)closed!).Cancel(), _closed);
        try
        {
            var status = await ExchangeAsync(path, request, limit).ConfigureAwait(false);
            if (status.StatusCode != StatusCode.OK)
            {
                throw new RpcException(status);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.DeadlineExceeded, $"no answer within {limit.TotalSeconds:0} s"));
        }
        catch (Exception e) when (e is NativeException or ObjectDisposedException or EndOfStreamException or TimeoutException or Http2Exception)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, $"the connection has ended: {e.Message}"));
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _closed.CancelAsync().ConfigureAwait(false);
        _link.Dispose();
        _socket.Dispose();
    }

    private async Task<Status> ExchangeAsync(string path, IMessage request, TimeSpan limit)
    {
        var stream = _stream += 2;
        _link.Windows.Open(stream);
        try
        {
            await _link.Output.SendAsync(new FrameBuffer().Begin(Http2FrameType.Headers, Http2Flags.EndHeaders, stream)
                .Indexed(MethodPost).Indexed(SchemeHttp).Header(":path", path).Header(":authority", "unix").Header("content-type", "application/grpc")
                .Header("te", "trailers").Header("grpc-timeout", GrpcText.Timeout(limit)).End().Written).ConfigureAwait(false);

            // Beside the reading: the server opens its window while it is sent.
            var sending = _link.SendDataAsync(stream, GrpcMessage.ToBytes(request, request.CalculateSize()), Http2Flags.EndStream, Http2Link.Stall, _closed.Token);
            var status = await ReadAsync(stream).ConfigureAwait(false);
            _link.Windows.Close(stream);
            await sending.ConfigureAwait(false);
            return status;
        }
        finally
        {
            _link.Windows.Close(stream);
        }
    }

    private async Task<Status> ReadAsync(int stream)
    {
        var status = new Status(StatusCode.Unknown, "the answer has no status");
        while (await _link.NextAsync().ConfigureAwait(false) is { } header)
        {
            switch (header.Type)
            {
                case Http2FrameType.Headers:
                    var headers = await _link.ReadHeadersAsync(header).ConfigureAwait(false);
                    if (header.StreamId == stream)
                    {
                        status = StatusOf(headers) ?? status;
                    }

                    break;
                case Http2FrameType.Data:
                    await _link.ReadDataAsync(header, static _ => { }).ConfigureAwait(false);
                    break;
                case Http2FrameType.ResetStream:
                    var code = await _link.ReadCodeAsync(header).ConfigureAwait(false);
                    if (header.StreamId == stream)
                    {
                        return new Status(StatusCode.Unavailable, $"the server ended the call (code {(uint)code})");
                    }

                    continue;
                case Http2FrameType.GoAway:
                    throw new Http2Exception(await _link.ReadCodeAsync(header).ConfigureAwait(false), "the server goes away");
                default:
                    await _link.ReadOtherAsync(header).ConfigureAwait(false);
                    continue;
            }

            if (header.StreamId == stream && header.Has(Http2Flags.EndStream))
            {
                return status;
            }
        }

        throw new EndOfStreamException("the server has closed it");
    }

    private static Status? StatusOf(List<KeyValuePair<string, string>> headers)
    {
        string code = "", message = "", http = "200";
        foreach (var (name, value) in headers)
        {
            switch (name)
            {
                case "grpc-status": code = value; break;
                case "grpc-message": message = GrpcText.Unescape(value); break;
                case ":status": http = value; break;
                default: break;
            }
        }

        return int.TryParse(code, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? new Status((StatusCode)number, message)
            : http != "200" ? new Status(StatusCode.Unavailable, $"the server answers with HTTP status {http}")
            : null;
    }
}
