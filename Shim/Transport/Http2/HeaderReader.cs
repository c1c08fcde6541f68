using System.Runtime.InteropServices;
using System.Text;

namespace Shim.Transport.Http2;

/// <summary>
/// Reads the header blocks of one connection (HPACK, RFC 7541). They must come in their order and completely: each may change how the next is read.
/// </summary>
internal sealed class HeaderReader
{
    /// <summary>What the headers of a request may take together, counted as the protocol counts them; told to the peer in our settings.</summary>
    internal const int MaxListSize = 16384;

    // Longer numbers than this would be of nothing that we take.
    private const int MaxNumberBits = 21;
    private const int EntryOverhead = 32;

    private readonly HeaderTable _table = new();

    /// <summary>The headers of a block. Throws <see cref="Http2Exception"/> for one that is broken or too large: the connection cannot go on then.</summary>
    internal List<KeyValuePair<string, string>> Read(ReadOnlySpan<byte> block)
    {
        var headers = new List<KeyValuePair<string, string>>();
        var size = 0;
        while (!block.IsEmpty)
        {
            if (ReadOne(ref block, headers.Count == 0) is not { } header)
            {
                continue;
            }

            size += header.Name.Length + header.Value.Length + EntryOverhead;
            if (size > MaxListSize)
            {
                throw new Http2Exception(Http2ErrorCode.EnhanceYourCalm, $"the headers of a request take more than {MaxListSize} bytes");
            }

            headers.Add(new(header.Name, header.Value));
        }

        return headers;
    }

    // Null when it was none, but a change of the table.
    private (string Name, string Value)? ReadOne(ref ReadOnlySpan<byte> block, bool first)
    {
        var kind = block[0];
        if ((kind & 0x80) != 0)
        {
            return Indexed(Number(ref block, 7));
        }

        if ((kind & 0xe0) == 0x20)
        {
            // Only at the beginning of a block.
            return first && _table.TryLimit(Number(ref block, 5)) ? null : throw Broken("a change of the table's size");
        }

        var remember = (kind & 0xc0) == 0x40;
        var index = Number(ref block, remember ? 6 : 4);
        var name = index == 0 ? Text(ref block) : Indexed(index).Name;
        var value = Text(ref block);
        if (remember)
        {
            _table.Add(name, value);
        }

        return (name, value);
    }

    private (string Name, string Value) Indexed(int index) => _table.Find(index) ?? throw Broken($"there is no entry {index}");

    private static int Number(ref ReadOnlySpan<byte> block, int prefixBits)
    {
        var most = (1 << prefixBits) - 1;
        var number = Octet(ref block) & most;
        if (number < most)
        {
            return number;
        }

        for (var shift = 0; ; shift += 7)
        {
            var octet = Octet(ref block);
            if (shift > MaxNumberBits - 7)
            {
                throw Broken("a number is too large");
            }

            number += (octet & 0x7f) << shift;
            if ((octet & 0x80) == 0)
            {
                return number;
            }
        }
    }

    // One character for each byte: what matters to gRPC is ASCII, and nothing else is ever looked at.
    private static string Text(ref ReadOnlySpan<byte> block)
    {
        var packed = !block.IsEmpty && (block[0] & 0x80) != 0;
        var length = Number(ref block, 7);
        if (length > block.Length)
        {
            throw Broken("a text is longer than its block");
        }

        var bytes = block[..length];
        block = block[length..];
        if (!packed)
        {
            return Encoding.Latin1.GetString(bytes);
        }

        var text = new List<byte>(length * 2);
        return HuffmanCode.TryDecode(bytes, text) ? Encoding.Latin1.GetString(CollectionsMarshal.AsSpan(text)) : throw Broken("a text is not Huffman code");
    }

    private static byte Octet(ref ReadOnlySpan<byte> block)
    {
        if (block.IsEmpty)
        {
            throw Broken("it ends in the middle");
        }

        var octet = block[0];
        block = block[1..];
        return octet;
    }

    private static Http2Exception Broken(string cause) => new(Http2ErrorCode.Compression, $"a block of headers cannot be read: {cause}");
}
