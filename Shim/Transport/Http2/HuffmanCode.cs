namespace Shim.Transport.Http2;

/// <summary>
/// Reads the Huffman code of header texts (RFC 7541, appendix B). The code is canonical: codes of one length are consecutive, in the order of their symbols, so
/// that the lengths alone describe it.
/// </summary>
internal static class HuffmanCode
{
    private const int Symbols = 257;
    private const int EndOfText = 256;
    private const int Longest = 30;

    // Where the codes of each length begin, how many there are, and their symbols in that order. Made for the first text that needs them: the clients
    // that come most, .NET's, send none.
    private static (int[] First, int[] Count, short[] Symbols)? s_tables;

    private static ReadOnlySpan<byte> Lengths =>
    [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
        30,
    ];

    /// <summary>Appends the text to <paramref name="text"/>; false when the bits are no text.</summary>
    internal static bool TryDecode(ReadOnlySpan<byte> bits, List<byte> text)
    {
        var (first, count, symbols) = s_tables ??= Build();
        int code = 0, length = 0, index = 0;
        foreach (var octet in bits)
        {
            for (var bit = 7; bit >= 0; bit--)
            {
                code = (code << 1) | ((octet >> bit) & 1);
                if (++length > Longest)
                {
                    return false;
                }

                var offset = code - first[length];
                if (offset < count[length])
                {
                    var symbol = symbols[index + offset];
                    if (symbol == EndOfText)
                    {
                        return false;
                    }

                    text.Add((byte)symbol);
                    code = length = index = 0;
                }
                else
                {
                    index += count[length];
                }
            }
        }

        // What is left is padding: fewer than eight bits, all of them ones.
        return length < 8 && code == (1 << length) - 1;
    }

    private static (int[] First, int[] Count, short[] Symbols) Build()
    {
        var first = new int[Longest + 1];
        var count = new int[Longest + 1];
        var symbols = new short[Symbols];
        var next = 0;
        for (var length = 1; length <= Longest; length++)
        {
            first[length] = (first[length - 1] + count[length - 1]) << 1;
            for (short symbol = 0; symbol < Symbols; symbol++)
            {
                if (Lengths[symbol] == length)
                {
                    symbols[next++] = symbol;
                    count[length]++;
                }
            }
        }

        return (first, count, symbols);
    }
}
