namespace Supervisor.Cli.Logs;

/// <summary>The lines of a file from the last one that is complete to the first.</summary>
internal sealed class BackwardLines
{
    private const int Block = 128 * 1024;
    private const int MaxLine = 16 * 1024 * 1024;

    private readonly LogFile _file;

    // The bytes at the end of the buffer; what was given out already is cut off at its end.
    private byte[] _buffer = [];
    private int _start;
    private int _end;

    // Where in the file the byte at _start is.
    private long _offset;

    internal BackwardLines(LogFile file)
    {
        _file = file;
        _offset = End = LastNewline(file, file.Length) + 1;
    }

    /// <summary>Where the last complete line ends.</summary>
    internal long End { get; }

    /// <summary>The line before the one that was given out last, without its newline, and where it begins. False at the beginning of the file.</summary>
    internal bool TryRead(out ReadOnlySpan<byte> line, out long offset)
    {
        while (_end > _start || _offset > 0)
        {
            if (_end > _start)
            {
                var newline = _buffer.AsSpan(_start, _end - 1 - _start).LastIndexOf((byte)'\n');
                if (newline >= 0 || _offset == 0)
                {
                    var begin = _start + newline + 1;
                    line = _buffer.AsSpan(begin, _end - 1 - begin);
                    offset = _offset + newline + 1;
                    _end = begin;
                    return true;
                }
            }

            if (!Extend())
            {
                break;
            }
        }

        line = default;
        offset = 0;
        return false;
    }

    /// <summary>Where the last newline before <paramref name="end"/> is, or -1.</summary>
    internal static long LastNewline(LogFile file, long end)
    {
        var buffer = new byte[Block];
        while (end > 0)
        {
            var block = ReadBlock(file, buffer, end - Math.Min(Block, end), (int)Math.Min(Block, end));
            var newline = block.LastIndexOf((byte)'\n');
            end -= block.Length;
            if (newline >= 0 || block.IsEmpty)
            {
                return newline < 0 ? -1 : end + newline;
            }
        }

        return -1;
    }

    /// <summary>Reads exactly as much, unless the file has become shorter: then nothing.</summary>
    internal static ReadOnlySpan<byte> ReadBlock(LogFile file, byte[] buffer, long offset, int length)
    {
        var filled = 0;
        while (filled < length)
        {
            var count = file.Read(buffer.AsSpan(filled, length - filled), offset + filled);
            if (count == 0)
            {
                return [];
            }

            filled += count;
        }

        return buffer.AsSpan(0, length);
    }

    /// <summary>Puts an earlier block before what is there. The longer the line already is, the larger the block.</summary>
    private bool Extend()
    {
        var kept = _end - _start;
        var length = (int)Math.Min(Math.Max(Block, kept), _offset);
        if (kept > MaxLine)
        {
            return false;
        }

        var buffer = new byte[length + kept];
        if (ReadBlock(_file, buffer, _offset - length, length).IsEmpty)
        {
            return false;
        }

        _buffer.AsSpan(_start, kept).CopyTo(buffer.AsSpan(length));
        (_buffer, _start, _end, _offset) = (buffer, 0, buffer.Length, _offset - length);
        return true;
    }
}
