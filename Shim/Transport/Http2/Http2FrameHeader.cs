using System.Buffers.Binary;

namespace Shim.Transport.Http2;

/// <summary>The nine bytes in front of every frame.</summary>
internal readonly record struct Http2FrameHeader(int Length, Http2FrameType Type, Http2Flags Flags, int StreamId)
{
    internal const int Size = 9;

    /// <summary>How long a frame may be; both sides leave it at what the protocol begins with.</summary>
    internal const int MaxLength = 16384;

    /// <summary>Whether a flag is set.</summary>
    internal bool Has(Http2Flags flag) => (Flags & flag) != 0;

    internal static Http2FrameHeader Read(ReadOnlySpan<byte> bytes) => new(
        (bytes[0] << 16) | (bytes[1] << 8) | bytes[2],
        (Http2FrameType)bytes[3],
        (Http2Flags)bytes[4],
        BinaryPrimitives.ReadInt32BigEndian(bytes[5..]) & int.MaxValue);

    internal void Write(Span<byte> bytes)
    {
        bytes[0] = (byte)(Length >> 16);
        bytes[1] = (byte)(Length >> 8);
        bytes[2] = (byte)Length;
        bytes[3] = (byte)Type;
        bytes[4] = (byte)Flags;
        BinaryPrimitives.WriteInt32BigEndian(bytes[5..], StreamId);
    }
}
