using System.Buffers.Binary;
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

    /// <summary>Writes one of several answers.</summary>
    internal async Task WriteAsync(IMessage message)
    {
        RequireSize(message);
        await SendAsync(message, null).ConfigureAwait(false);
        CancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Writes a message, or the end with its status, or both.</summary>
    private async Task SendAsync(IMessage? message, Status? end)
    {
        var size = message?.CalculateSize() ?? 0;
        var frames = new FrameBuffer();
        if (message is not null)
        {
            WriteHeaders(frames);
            if (size > SmallBuffers.Size || !_connection.Windows.TryTake(Id, size + PrefixLength))
            {
                await _connection.Output.SendAsync(frames.Written).ConfigureAwait(false);
                await SendLargeAsync(message, size).ConfigureAwait(false);
                frames = new FrameBuffer();
            }
            else
            {
                frames.Begin(Http2FrameType.Data, Http2Flags.None, Id);
                WriteMessage(message, frames.Claim(size + PrefixLength));
                frames.End();
            }
        }

        if (end is { } status)
        {
            WriteEnd(frames, status);
        }

        await _connection.Output.SendAsync(frames.Written).ConfigureAwait(false);
    }

    private async Task SendLargeAsync(IMessage message, int size)
    {
        using var lease = await _connection.Server.Outgoing.TakeAsync(size, CancellationToken).ConfigureAwait(false);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(CancellationToken);
        var bytes = new byte[size + PrefixLength];
        WriteMessage(message, bytes);
        try
        {
            for (var sent = 0; sent < bytes.Length;)
            {
                patience.CancelAfter(s_stall);
                var count = await _connection.Windows.TakeAsync(Id, Math.Min(bytes.Length - sent, Http2FrameHeader.MaxLength), patience.Token).ConfigureAwait(false);
                if (count == 0)
                {
                    throw new OperationCanceledException();
                }

                var header = new byte[Http2FrameHeader.Size];
                new Http2FrameHeader(count, Http2FrameType.Data, Http2Flags.None, Id).Write(header);
                await _connection.Output.SendAsync(header, bytes.AsMemory(sent, count)).WaitAsync(patience.Token).ConfigureAwait(false);
                sent += count;
            }
        }
        catch (OperationCanceledException) when (patience.IsCancellationRequested && !CancellationToken.IsCancellationRequested)
        {
            // It does not read, and others wait for what it holds.
            _connection.Abort();
            throw;
        }
    }

    private static void RequireSize(IMessage? message)
    {
        if (message?.CalculateSize() > UnixChannel.MaxMessageBytes)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"the answer is larger than {UnixChannel.MaxMessageBytes} bytes"));
        }
    }

    private static void WriteMessage(IMessage message, Span<byte> target)
    {
        target[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(target[1..], (uint)(target.Length - PrefixLength));
        message.WriteTo(target[PrefixLength..]);
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
