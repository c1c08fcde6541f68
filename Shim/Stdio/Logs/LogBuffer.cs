namespace Shim.Stdio.Logs;

/// <summary>Bytes of records on their way to the disk. In every format a newline is the end of a record, and only that.</summary>
internal sealed class LogBuffer
{
    private const int Smallest = 4096;

    private byte[] _bytes = [];
    private int _start;
    private int _end;

    /// <summary>How many bytes wait.</summary>
    internal int Length => _end - _start;

    /// <summary>How much memory it holds.</summary>
    internal int Capacity => _bytes.Length;

    /// <summary>What waits.</summary>
    internal ReadOnlySpan<byte> Bytes => _bytes.AsSpan(_start, Length);

    /// <summary>Room for at least so many bytes; they count after <see cref="Advance"/>.</summary>
    internal Span<byte> Reserve(int count)
    {
        if (_bytes.Length - _end < count)
        {
            var needed = Length + count;
            var larger = needed <= _bytes.Length / 2 ? _bytes : GC.AllocateUninitializedArray<byte>(Math.Max(Smallest, Math.Max(needed, _bytes.Length * 2)));
            Bytes.CopyTo(larger);
            (_bytes, _end, _start) = (larger, Length, 0);
        }

        return _bytes.AsSpan(_end);
    }

    /// <summary>So many bytes of what was reserved are now filled.</summary>
    internal void Advance(int count) => _end += count;

    /// <summary>Adds bytes.</summary>
    internal void Add(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        Advance(bytes.Length);
    }

    /// <summary>So many bytes have been written.</summary>
    internal void Consume(int count)
    {
        _start += count;
        if (_start == _end)
        {
            (_start, _end) = (0, 0);
        }
    }
}
