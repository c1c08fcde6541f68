using System.Buffers.Binary;
using Google.Protobuf;

namespace Shim.Transport.Http2;

/// <summary>A message as gRPC puts it into a stream: a byte that says whether it is compressed, four with its length, itself.</summary>
internal static class GrpcMessage
{
    internal const int PrefixLength = 5;

    /// <summary>Writes it, not compressed, into room of exactly its size and that of the prefix.</summary>
    internal static void Write(IMessage message, Span<byte> target)
    {
        target[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(target[1..], (uint)(target.Length - PrefixLength));
        message.WriteTo(target[PrefixLength..]);
    }

    /// <summary>That in an array of its own.</summary>
    /// <param name="message">The message.</param>
    /// <param name="size">Its size, which is not asked for twice.</param>
    internal static byte[] ToBytes(IMessage message, int size)
    {
        var bytes = new byte[PrefixLength + size];
        Write(message, bytes);
        return bytes;
    }
}
