using System.Globalization;
using Containerd;
using Google.Protobuf;
using Grpc.Core;

namespace Shim.Transport.Http2;

/// <content>The answer, as it goes out.</content>
internal sealed partial class GrpcCall
{
    // HPACK's fixed table.
    private const int StatusOk = 8;

    private bool _headersSent;

    /// <summary>Writes one of several answers. ResourceExhausted when it is too large for a message.</summary>
    internal async Task WriteAsync(IMessage message)
    {
        var size = message.CalculateSize();
        if (TooLarge(size) is { } refusal)
        {
            throw new RpcException(refusal);
        }

        var frames = await BeginAsync(message, size).ConfigureAwait(false);
        await _connection.Link.Output.SendAsync(frames.Written).ConfigureAwait(false);
        CancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Writes the end with its status, after the answer if there is one to be written.</summary>
    private async Task EndAsync(IMessage? answer, Status status)
    {
        var size = answer?.CalculateSize() ?? 0;
        if (TooLarge(size) is { } refusal)
        {
            (answer, status) = (null, refusal);
        }

        var frames = answer is null ? new FrameBuffer() : await BeginAsync(answer, size).ConfigureAwait(false);
        WriteEnd(frames, status);
        await _connection.Link.Output.SendAsync(frames.Written).ConfigureAwait(false);
    }

    private static Status? TooLarge(int size) => size > UnixChannel.MaxMessageBytes
        ? new Status(StatusCode.ResourceExhausted, $"the answer is larger than {UnixChannel.MaxMessageBytes} bytes")
        : null;

    // What fits is in what is returned, and goes out with what follows. All else has gone out already: a large message, or one that had to wait.
    private async Task<FrameBuffer> BeginAsync(IMessage message, int size)
    {
        var frames = new FrameBuffer();
        WriteHeaders(frames);
        var small = size <= SmallBuffers.Size;
        if (small && _connection.Link.Windows.TryTake(Id, size + GrpcMessage.PrefixLength))
        {
            frames.Begin(Http2FrameType.Data, Http2Flags.None, Id);
            GrpcMessage.Write(message, frames.Claim(size + GrpcMessage.PrefixLength));
            return frames.End();
        }

        // Who reads a stream of events may take his time; over a large message he holds memory that others wait for.
        await _connection.Link.Output.SendAsync(frames.Written).ConfigureAwait(false);
        using var lease = small ? null : await _connection.Server.Outgoing.TakeAsync(size, CancellationToken).ConfigureAwait(false);
        try
        {
            await _connection.Link.SendDataAsync(
                Id, GrpcMessage.ToBytes(message, size), Http2Flags.None, small ? Timeout.InfiniteTimeSpan : Http2Link.Stall, CancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // A frame may be half-way out.
            _connection.Abort();
            throw;
        }

        return new FrameBuffer();
    }

    private void WriteHeaders(FrameBuffer frames)
    {
        if (!_headersSent)
        {
            _headersSent = true;
            frames.Begin(Http2FrameType.Headers, Http2Flags.EndHeaders, Id).Indexed(StatusOk).Header("content-type", "application/grpc").End();
        }
    }

    // Where nothing has been sent, the end is all there is: "trailers-only".
    private void WriteEnd(FrameBuffer frames, Status status)
    {
        frames.Begin(Http2FrameType.Headers, Http2Flags.EndHeaders | Http2Flags.EndStream, Id);
        if (!_headersSent)
        {
            frames.Indexed(StatusOk).Header("content-type", "application/grpc");
        }

        frames.Header("grpc-status", ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture));
        if (status.Detail.Length > 0)
        {
            frames.Header("grpc-message", GrpcText.Escape(status.Detail));
        }

        foreach (var trailer in Context.ResponseTrailers)
        {
            frames.Header(trailer.Key, trailer.Value);
        }

        frames.End();
    }
}
