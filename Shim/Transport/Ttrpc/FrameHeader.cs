using System.Buffers.Binary;

namespace Shim.Transport.Ttrpc;

/// <summary>The ten bytes before the data of every frame.</summary>
/// <param name="Length">The number of bytes of data that follow.</param>
/// <param name="StreamId">The stream; odd when the client opened it.</param>
/// <param name="Type">What the frame is for.</param>
/// <param name="Flags">What else is to be known of it.</param>
internal readonly record struct FrameHeader(uint Length, uint StreamId, FrameType Type, FrameFlags Flags)
{
    /// <summary>The length of a header.</summary>
    internal const int Size = 10;

    /// <summary>The most data that one frame may carry.</summary>
    internal const int MaxLength = 4 << 20;

    /// <summary>Whether the frame is larger than the protocol allows.</summary>
    internal bool IsOversized => Length > MaxLength;

    /// <summary>Reads a header from the first ten bytes.</summary>
    internal static FrameHeader Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt32BigEndian(bytes),
        BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]),
        (FrameType)bytes[8],
        (FrameFlags)bytes[9]);

    /// <summary>Writes the header into the first ten bytes.</summary>
    internal void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt32BigEndian(bytes, Length);
        BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], StreamId);
        bytes[8] = (byte)Type;
        bytes[9] = (byte)Flags;
    }
}
