using System.Buffers.Binary;
using System.Text;

namespace Shim.Transport.Http2;

/// <summary>
/// Frames that go out together, one after another. Headers are written without compression and without making the peer remember them: they are few, and a
/// unix socket is not short of bytes.
/// </summary>
internal sealed class FrameBuffer(int capacity = 256)
{
    // HPACK: a literal that is not to be remembered, with a new name; the length of a text that is not packed.
    private const byte LiteralHeader = 0;
    private const int ShortText = 127;

    private byte[] _bytes = new byte[capacity];
    private int _end;
    private int _frame;

    /// <summary>What has been written.</summary>
    internal ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, _end);

    /// <summary>Begins a frame, whose payload is what is written until <see cref="End"/>.</summary>
    internal FrameBuffer Begin(Http2FrameType type, Http2Flags flags, int streamId)
    {
        _frame = _end;
        new Http2FrameHeader(0, type, flags, streamId).Write(Claim(Http2FrameHeader.Size));
        return this;
    }

    /// <summary>Ends the frame that was begun. One that has become too long is continued in further ones; only headers may.</summary>
    internal FrameBuffer End()
    {
        var header = Http2FrameHeader.Read(_bytes.AsSpan(_frame));
        var length = _end - _frame - Http2FrameHeader.Size;
        if (length > Http2FrameHeader.MaxLength)
        {
            return Continue(header, _bytes.AsSpan(_frame + Http2FrameHeader.Size, length).ToArray());
        }

        (header with { Length = length }).Write(_bytes.AsSpan(_frame));
        return this;
    }

    internal FrameBuffer Number(uint value)
    {
        BinaryPrimitives.WriteUInt32BigEndian(Claim(4), value);
        return this;
    }

    internal FrameBuffer Octets(ReadOnlySpan<byte> octets)
    {
        octets.CopyTo(Claim(octets.Length));
        return this;
    }

    /// <summary>One setting, within a SETTINGS frame.</summary>
    internal FrameBuffer Setting(ushort name, uint value)
    {
        BinaryPrimitives.WriteUInt16BigEndian(Claim(2), name);
        return Number(value);
    }

    /// <summary>A header that the fixed table has with its value, within a HEADERS frame.</summary>
    internal FrameBuffer Indexed(int index)
    {
        Claim(1)[0] = (byte)(0x80 | index);
        return this;
    }

    /// <summary>A header of printable ASCII, within a HEADERS frame.</summary>
    internal FrameBuffer Header(string name, string value)
    {
        Claim(1)[0] = LiteralHeader;
        Text(name);
        Text(value);
        return this;
    }

    /// <summary>Room for <paramref name="count"/> bytes, to be written at once.</summary>
    internal Span<byte> Claim(int count)
    {
        if (_bytes.Length - _end < count)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _end + count));
        }

        _end += count;
        return _bytes.AsSpan(_end - count, count);
    }

    private void Text(string text)
    {
        if (text.Length < ShortText)
        {
            Claim(1)[0] = (byte)text.Length;
        }
        else
        {
            Claim(1)[0] = ShortText;
            var rest = text.Length - ShortText;
            for (; rest > 0x7f; rest >>= 7)
            {
                Claim(1)[0] = (byte)(rest | 0x80);
            }

            Claim(1)[0] = (byte)rest;
        }

        Encoding.ASCII.GetBytes(text, Claim(text.Length));
    }

    private FrameBuffer Continue(Http2FrameHeader header, ReadOnlySpan<byte> payload)
    {
        _end = _frame;
        var first = true;
        while (!payload.IsEmpty)
        {
            var part = payload[..Math.Min(payload.Length, Http2FrameHeader.MaxLength)];
            payload = payload[part.Length..];
            var last = payload.IsEmpty ? Http2Flags.EndHeaders : Http2Flags.None;
            new Http2FrameHeader(
                part.Length,
                first ? header.Type : Http2FrameType.Continuation,
                first ? (header.Flags & ~Http2Flags.EndHeaders) | last : last,
                header.StreamId).Write(Claim(Http2FrameHeader.Size));
            part.CopyTo(Claim(part.Length));
            first = false;
        }

        return this;
    }
}
