using System.Buffers.Binary;
using System.Security.Cryptography;
using Mono.Unix.Native;

namespace Shim.Tests.Support;

/// <summary>Any amount of bytes of which no piece can be missing, doubled or in the wrong place without changing the hash.</summary>
public static class BytePattern
{
    private const int BlockBytes = 64 * 1024;

    /// <summary>The hash of the first <paramref name="length"/> bytes.</summary>
    public static string Hash(long length)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Produce(length, block => hash.AppendData(block));
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The hash of a text that is repeated up to a length.</summary>
    public static string HashOfRepeated(string text, long length)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var bytes = System.Text.Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(text, 65536)));
        for (; length > 0; length -= bytes.Length)
        {
            hash.AppendData(bytes, 0, (int)Math.Min(length, bytes.Length));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Writes the pattern into a FIFO, as fast as its reader takes it, and closes it. Ends when all is written.</summary>
    public static Task WriteToFifoAsync(string path, long length)
    {
        // Blocking, so on a thread of its own.
        return Task.Factory.StartNew(
            () =>
            {
                using var fifo = Fifo.Open(path, OpenFlags.O_WRONLY);
                using var stream = new FileStream(fifo, FileAccess.Write, bufferSize: 0);
                Produce(length, block => stream.Write(block));
            },
            default,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
    }

    private static void Produce(long length, Action<ReadOnlySpan<byte>> take)
    {
        var block = new byte[BlockBytes];
        new Random(7).NextBytes(block);
        for (var number = 0L; length > 0; number++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(block, number);
            var count = (int)Math.Min(length, block.Length);
            take(block.AsSpan(0, count));
            length -= count;
        }
    }
}
