namespace Shim.Transport.Http2;

/// <summary>The headers that a block names by number: the fixed ones of RFC 7541, appendix A, and those that the peer had us remember.</summary>
internal sealed class HeaderTable
{
    /// <summary>What the remembered ones may take; the protocol's own beginning, which we leave as it is.</summary>
    internal const int MaxSize = 4096;

    // RFC 7541, 4.1: so much is counted for an entry beyond its bytes.
    private const int EntryOverhead = 32;

    private static readonly (string Name, string Value)[] s_fixed =
    [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"),
        (":status", "200"), (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"),
        ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
        ("content-encoding", ""), ("content-language", ""), ("content-length", ""), ("content-location", ""), ("content-range", ""), ("content-type", ""),
        ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
        ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
        ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""),
        ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
    ];

    // The newest last.
    private readonly List<(string Name, string Value)> _remembered = [];
    private int _size;
    private int _limit = MaxSize;

    /// <summary>An entry by its number, which begins with 1; null when there is none.</summary>
    internal (string Name, string Value)? Find(int index)
    {
        if (index <= s_fixed.Length)
        {
            return index > 0 ? s_fixed[index - 1] : null;
        }

        var age = index - s_fixed.Length;
        return age <= _remembered.Count ? _remembered[^age] : null;
    }

    /// <summary>Remembers an entry; the oldest make room for it. One that is larger than all empties the table.</summary>
    internal void Add(string name, string value)
    {
        var size = SizeOf(name, value);
        ShrinkTo(_limit - size);
        if (size <= _limit)
        {
            _remembered.Add((name, value));
            _size += size;
        }
    }

    /// <summary>The peer wants to use no more than that; false when it is more than it may.</summary>
    internal bool TryLimit(int size)
    {
        if (size > MaxSize)
        {
            return false;
        }

        _limit = size;
        ShrinkTo(size);
        return true;
    }

    private void ShrinkTo(int size)
    {
        var gone = 0;
        while (_size > size && gone < _remembered.Count)
        {
            var (name, value) = _remembered[gone++];
            _size -= SizeOf(name, value);
        }

        _remembered.RemoveRange(0, gone);
    }

    // Texts are one byte a character here: see HeaderReader.
    private static int SizeOf(string name, string value) => name.Length + value.Length + EntryOverhead;
}
