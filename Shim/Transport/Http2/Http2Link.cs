using System.Buffers;
using System.Buffers.Binary;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>
/// What server and client of HTTP/2 have in common: frames in and out, settings, pings, windows. There is no compression of what we send, no priority, no push:
/// gRPC on a unix socket needs none of it.
/// </summary>
/// <remarks>
/// Our own, and not Kestrel's: that makes a shim 160 KB heavier (of 870), its file twice as large, and each start milliseconds longer, for whatever is
/// in the program has its static fields in every process, used or not.
/// </remarks>
internal sealed class Http2Link(UnixSocket socket, CancellationToken closed) : IDisposable
{
    private const ushort SettingInitialWindow = 4;
    private const ushort SettingMaxHeaderList = 6;
    private const int SettingSize = 6;
    private const int PingSize = 8;

    // Of a request's headers before they are unpacked: CONTINUATION frames could go on for ever.
    private const int MaxBlock = 2 * HeaderReader.MaxListSize;

    // The peer may send on when so much has been taken. Half of what a connection begins with.
    private const int Credit = SendWindows.Initial / 2;

    /// <summary>How long a peer may hold memory that others wait for without a byte that moves.</summary>
    internal static readonly TimeSpan Stall = TimeSpan.FromSeconds(30);

    private readonly SocketInput _input = new(socket, closed);
    private readonly HeaderReader _headers = new();
    private int _taken;

    internal Http2Output Output { get; } = new(socket, closed);

    /// <summary>What the peer takes.</summary>
    internal SendWindows Windows { get; } = new(closed);

    /// <summary>What a client begins with.</summary>
    internal static ReadOnlyMemory<byte> Preface { get; } = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray();

    /// <summary>What both sides begin with, a client after its preface.</summary>
    internal static FrameBuffer Greet(FrameBuffer buffer) =>
        buffer.Begin(Http2FrameType.Settings, Http2Flags.None, 0).Setting(SettingMaxHeaderList, HeaderReader.MaxListSize).End();

    /// <summary>Whether the next bytes are those; false also when the connection ends.</summary>
    internal async ValueTask<bool> ExpectAsync(ReadOnlyMemory<byte> bytes) =>
        await _input.FillAsync(bytes.Length).ConfigureAwait(false) && _input.Take(bytes.Length).Span.SequenceEqual(bytes.Span);

    /// <summary>The next frame's header; null when the connection has ended.</summary>
    internal async ValueTask<Http2FrameHeader?> NextAsync()
    {
        if (!await _input.FillAsync(Http2FrameHeader.Size).ConfigureAwait(false))
        {
            return null;
        }

        var header = Http2FrameHeader.Read(_input.Take(Http2FrameHeader.Size).Span);
        return header.Length <= Http2FrameHeader.MaxLength
            ? header
            : throw new Http2Exception(Http2ErrorCode.FrameSize, $"a frame of {header.Length} bytes");
    }

    /// <summary>Reads the payload of a DATA frame and gives it away piece by piece; the connection's window is opened again at once.</summary>
    internal async ValueTask ReadDataAsync(Http2FrameHeader header, Action<ReadOnlySpan<byte>> take)
    {
        var rest = header.Length;
        var padding = 0;
        if (header.Has(Http2Flags.Padded) && rest-- > 0)
        {
            padding = (await SomeAsync(1).ConfigureAwait(false)).Span[0];
        }

        if (rest < padding)
        {
            throw new Http2Exception(Http2ErrorCode.Protocol, "more padding than payload");
        }

        for (rest -= padding; rest > 0;)
        {
            var piece = await SomeAsync(rest).ConfigureAwait(false);
            rest -= piece.Length;
            take(piece.Span);
        }

        await SkipAsync(padding).ConfigureAwait(false);
        _taken += header.Length;
        if (_taken >= Credit)
        {
            await Output.AddWindowAsync(0, _taken).ConfigureAwait(false);
            _taken = 0;
        }
    }

    /// <summary>
    /// Writes the data of a stream, as fast as the peer takes it, and <paramref name="last"/> with its last frame. Ends early when the stream has. Throws
    /// TimeoutException when nothing moves for <paramref name="patience"/>: the connection is of no use any more then.
    /// </summary>
    internal async Task SendDataAsync(int stream, ReadOnlyMemory<byte> data, Http2Flags last, TimeSpan patience, CancellationToken cancellationToken)
    {
        using var stall = new Patience(cancellationToken);
        try
        {
            while (!data.IsEmpty)
            {
                stall.Renew(patience);
                var count = await Windows.TakeAsync(stream, Math.Min(data.Length, Http2FrameHeader.MaxLength), stall.Token).ConfigureAwait(false);
                if (count == 0)
                {
                    return;
                }

                var header = new byte[Http2FrameHeader.Size];
                new Http2FrameHeader(count, Http2FrameType.Data, count == data.Length ? last : Http2Flags.None, stream).Write(header);
                await Output.SendAsync(header, data[..count]).WaitAsync(stall.Token).ConfigureAwait(false);
                data = data[count..];
            }
        }
        catch (OperationCanceledException) when (stall.IsExhausted)
        {
            throw new TimeoutException($"no byte was taken for {patience.TotalSeconds:0} s");
        }
    }

    /// <summary>Reads a HEADERS frame with all that continue it.</summary>
    internal async ValueTask<List<KeyValuePair<string, string>>> ReadHeadersAsync(Http2FrameHeader header)
    {
        var payload = await PayloadAsync(header.Length).ConfigureAwait(false);
        var padding = 0;
        if (header.Has(Http2Flags.Padded))
        {
            padding = payload.IsEmpty ? int.MaxValue : payload.Span[0];
            payload = payload[Math.Min(1, payload.Length)..];
        }

        var skipped = header.Has(Http2Flags.Priority) ? 5 : 0;
        if ((long)padding + skipped > payload.Length)
        {
            throw new Http2Exception(Http2ErrorCode.Protocol, "more padding than payload");
        }

        payload = payload[skipped..^padding];
        if (header.Has(Http2Flags.EndHeaders))
        {
            return _headers.Read(payload.Span);
        }

        var block = new ArrayBufferWriter<byte>();
        block.Write(payload.Span);
        for (var last = false; !last;)
        {
            if (await NextAsync().ConfigureAwait(false) is not { } next)
            {
                throw new EndOfStreamException();
            }

            if (next.Type != Http2FrameType.Continuation || next.StreamId != header.StreamId)
            {
                throw new Http2Exception(Http2ErrorCode.Protocol, "a block of headers was not continued");
            }

            if (block.WrittenCount + next.Length > MaxBlock)
            {
                throw new Http2Exception(Http2ErrorCode.EnhanceYourCalm, $"a block of headers of more than {MaxBlock} bytes");
            }

            block.Write((await PayloadAsync(next.Length).ConfigureAwait(false)).Span);
            last = next.Has(Http2Flags.EndHeaders);
        }

        return _headers.Read(block.WrittenSpan);
    }

    /// <summary>Reads the code of a RST_STREAM or GOAWAY frame.</summary>
    internal async ValueTask<Http2ErrorCode> ReadCodeAsync(Http2FrameHeader header)
    {
        var payload = await PayloadAsync(header.Length).ConfigureAwait(false);
        var at = header.Type == Http2FrameType.GoAway ? 4 : 0;
        return payload.Length >= at + 4
            ? (Http2ErrorCode)BinaryPrimitives.ReadUInt32BigEndian(payload.Span[at..])
            : throw new Http2Exception(Http2ErrorCode.FrameSize, "a frame is too short for its code");
    }

    /// <summary>Deals with frames that mean the same on both sides, and passes over those that nobody here needs.</summary>
    internal async ValueTask ReadOtherAsync(Http2FrameHeader header)
    {
        switch (header.Type)
        {
            case Http2FrameType.Settings:
                await ReadSettingsAsync(header).ConfigureAwait(false);
                break;
            case Http2FrameType.Ping:
                await ReadPingAsync(header).ConfigureAwait(false);
                break;
            case Http2FrameType.WindowUpdate:
                await ReadWindowUpdateAsync(header).ConfigureAwait(false);
                break;
            case Http2FrameType.Continuation:
                throw new Http2Exception(Http2ErrorCode.Protocol, "headers are continued that have not begun");
            case Http2FrameType.PushPromise:
                throw new Http2Exception(Http2ErrorCode.Protocol, "a promise that nobody wants");
            default:
                await SkipAsync(header.Length).ConfigureAwait(false);
                break;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _input.Dispose();

    private async ValueTask ReadSettingsAsync(Http2FrameHeader header)
    {
        var payload = await PayloadAsync(header.Length).ConfigureAwait(false);
        if (header.StreamId != 0 || header.Length % SettingSize != 0 || (header.Has(Http2Flags.Ack) && header.Length > 0))
        {
            throw new Http2Exception(Http2ErrorCode.FrameSize, "settings that are none");
        }

        if (header.Has(Http2Flags.Ack))
        {
            return;
        }

        for (; !payload.IsEmpty; payload = payload[SettingSize..])
        {
            var name = BinaryPrimitives.ReadUInt16BigEndian(payload.Span);
            var value = BinaryPrimitives.ReadUInt32BigEndian(payload.Span[2..]);
            if (name == SettingInitialWindow && !Windows.TrySetInitial(value))
            {
                throw new Http2Exception(Http2ErrorCode.FlowControl, "a window that is too large");
            }
        }

        await Output.SendAsync(new FrameBuffer(16).Begin(Http2FrameType.Settings, Http2Flags.Ack, 0).End().Written).ConfigureAwait(false);
    }

    private async ValueTask ReadPingAsync(Http2FrameHeader header)
    {
        var payload = await PayloadAsync(header.Length).ConfigureAwait(false);
        if (header.StreamId != 0 || header.Length != PingSize)
        {
            throw new Http2Exception(Http2ErrorCode.FrameSize, "a ping that is none");
        }

        if (!header.Has(Http2Flags.Ack))
        {
            await Output.SendAsync(new FrameBuffer(32).Begin(Http2FrameType.Ping, Http2Flags.Ack, 0).Octets(payload.Span).End().Written).ConfigureAwait(false);
        }
    }

    private async ValueTask ReadWindowUpdateAsync(Http2FrameHeader header)
    {
        var payload = await PayloadAsync(header.Length).ConfigureAwait(false);
        if (header.Length != 4)
        {
            throw new Http2Exception(Http2ErrorCode.FrameSize, "a window that is none");
        }

        var bytes = BinaryPrimitives.ReadInt32BigEndian(payload.Span) & int.MaxValue;
        if (bytes == 0 || !Windows.TryAdd(header.StreamId, bytes))
        {
            throw new Http2Exception(Http2ErrorCode.FlowControl, "a window that is empty or too large");
        }
    }

    // Valid until the next read.
    private async ValueTask<ReadOnlyMemory<byte>> PayloadAsync(int length)
    {
        if (length <= SmallBuffers.Size)
        {
            return await _input.FillAsync(length).ConfigureAwait(false) ? _input.Take(length) : throw new EndOfStreamException();
        }

        var whole = new byte[length];
        for (var filled = 0; filled < length;)
        {
            var piece = await SomeAsync(length - filled).ConfigureAwait(false);
            piece.CopyTo(whole.AsMemory(filled));
            filled += piece.Length;
        }

        return whole;
    }

    private async ValueTask SkipAsync(int length)
    {
        while (length > 0)
        {
            length -= (await SomeAsync(length).ConfigureAwait(false)).Length;
        }
    }

    private async ValueTask<ReadOnlyMemory<byte>> SomeAsync(int limit)
    {
        var piece = await _input.SomeAsync(limit).ConfigureAwait(false);
        return piece.IsEmpty ? throw new EndOfStreamException() : piece;
    }
}
