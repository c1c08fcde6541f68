namespace Supervisor.Cli.Logs;

/// <summary>A plain file with the bytes of a stream.</summary>
internal sealed class RawSource : ILogSource
{
    private const int Block = 1024 * 1024;

    private readonly string _path;
    private readonly LogStream _stream;
    private readonly bool _follow;
    private readonly Action<string> _warn;
    private readonly byte[] _buffer = new byte[Block];
    private LogFile? _file;
    private long _offset;

    private RawSource(string path, LogStream stream, bool follow, Action<string> warn) => (_path, _stream, _follow, _warn) = (path, stream, follow, warn);

    internal static RawSource Open(string path, LogStream stream, LogChoice choice, Action<string> warn)
    {
        var source = new RawSource(path, stream, choice.Follow, warn) { _file = LogFile.TryOpen(path) };
        if (source._file is null && !choice.Follow)
        {
            throw new CliException($"there is no file {path} (any more)");
        }

        if (source._file is not null && choice.Lines is { } lines)
        {
            source._offset = StartOfLast(source._file, lines);
        }

        return source;
    }

    public bool Pump(LogPrinter printer)
    {
        _file ??= LogFile.TryOpen(_path);
        if (_file is null)
        {
            return false;
        }

        var any = false;
        while (true)
        {
            var count = _file.Read(_buffer, _offset);
            if (count > 0)
            {
                any = true;
                _offset += count;
                printer.Print(_stream, _buffer.AsSpan(0, count));
            }
            else if (_follow && _file.Length < _offset)
            {
                _warn($"{_path} was cut off by somebody: beginning again at its start");
                _offset = 0;
            }
            else
            {
                return any;
            }
        }
    }

    public bool IsOpenIn(uint pid) => _file?.IsOpenIn(pid) ?? false;

    public void Dispose() => _file?.Dispose();

    /// <summary>Where the last lines begin; the rest after the last newline is a line, too.</summary>
    private static long StartOfLast(LogFile file, long lines)
    {
        var end = file.Length;
        if (lines == 0 || end == 0)
        {
            return end;
        }

        // The newline at the very end ends the last line and begins none.
        var buffer = new byte[Block];
        var position = end - 1;
        while (position > 0)
        {
            var length = (int)Math.Min(Block, position);
            var block = BackwardLines.ReadBlock(file, buffer, position - length, length);
            if (block.IsEmpty)
            {
                break;
            }

            while (block.LastIndexOf((byte)'\n') is >= 0 and var newline)
            {
                if (--lines == 0)
                {
                    return position - length + newline + 1;
                }

                block = block[..newline];
            }

            position -= length;
        }

        return 0;
    }
}
