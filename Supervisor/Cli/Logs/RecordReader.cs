namespace Supervisor.Cli.Logs;

/// <summary>
/// Reads the records of one log in order: first the files there were at the beginning, then, if it is to follow, what is added to the last
/// one and to those that come after it. A record whose end is not there yet is not seen.
/// </summary>
internal sealed class RecordReader : IDisposable
{
    private const int InitialBuffer = 512 * 1024;

    // No writer makes records nearly as large; a file without newlines is not to fill the memory.
    private const int MaxRecord = 16 * 1024 * 1024;

    private readonly RotatedLog _log;
    private readonly RecordParser _parser;
    private readonly bool _follow;
    private readonly Action<string> _warn;
    private readonly Queue<LogFile> _files;
    private LogFile? _current;
    private LogFile? _next;
    private int _fileNumber;
    private byte[] _buffer = new byte[InitialBuffer];
    private int _start;
    private int _searched;
    private int _end;

    // Where in the current file the bytes after _end are.
    private long _offset;
    private LogPosition _fromStdout;
    private LogPosition _fromStderr;
    private bool _selects;
    private bool _skipsLine;

    /// <param name="log">Where the files are.</param>
    /// <param name="files">Its files, oldest first; they are ours from now on.</param>
    /// <param name="format">How its records look.</param>
    /// <param name="follow">Whether to go on with what is written from now on.</param>
    /// <param name="warn">Told what a reader of the output should know.</param>
    internal RecordReader(RotatedLog log, List<LogFile> files, RecordFormat format, bool follow, Action<string> warn)
    {
        (_log, _parser, _follow, _warn) = (log, RecordParser.Of(format), follow, warn);
        _files = new Queue<LogFile>(files);
        _files.TryDequeue(out _current);
    }

    /// <summary>Lines that were no records, and were left out.</summary>
    internal long Malformed { get; private set; }

    /// <summary>Leaves out the records of each stream before its position.</summary>
    internal void StartAt(LogPosition stdout, LogPosition stderr)
    {
        (_fromStdout, _fromStderr, _selects) = (stdout, stderr, true);
        var first = stdout < stderr ? stdout : stderr;
        while (_fileNumber < first.File && _files.TryDequeue(out var next))
        {
            _current?.Dispose();
            _current = next;
            _fileNumber++;
        }

        _offset = first.Offset;
    }

    /// <summary>The next record; false when there is none now, or, unless we follow, at all.</summary>
    internal bool TryRead(out LogRecord record)
    {
        while (true)
        {
            var length = _buffer.AsSpan(_searched, _end - _searched).IndexOf((byte)'\n');
            if (length < 0)
            {
                _searched = _end;
                if (!Fill() && !MoveOn())
                {
                    record = default;
                    return false;
                }

                continue;
            }

            var line = _buffer.AsSpan(_start, _searched + length - _start);
            var position = new LogPosition(_fileNumber, _offset - (_end - _start));
            _start = _searched = _searched + length + 1;
            if (_skipsLine || !_parser.TryParse(line, out record))
            {
                _skipsLine = false;
                Malformed++;
            }
            else if (!_selects || IsSelected(record.Stream, position))
            {
                return true;
            }
        }
    }

    /// <summary>Whether process <paramref name="pid"/> may still add something.</summary>
    internal bool IsOpenIn(uint pid) => _current?.IsOpenIn(pid) ?? false;

    public void Dispose()
    {
        _current?.Dispose();
        _next?.Dispose();
        foreach (var file in _files)
        {
            file.Dispose();
        }
    }

    private bool IsSelected(LogStream stream, LogPosition position)
    {
        _selects = position < _fromStdout || position < _fromStderr;
        return position >= (stream == LogStream.Stdout ? _fromStdout : _fromStderr);
    }

    /// <summary>Reads more of the current file. False at its present end.</summary>
    private bool Fill()
    {
        if (_current is null)
        {
            return false;
        }

        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            (_start, _searched, _end) = (0, _searched - _start, _end - _start);
        }

        if (_end == _buffer.Length)
        {
            if (_buffer.Length >= MaxRecord)
            {
                (_end, _searched, _skipsLine) = (0, 0, true);
            }
            else
            {
                Array.Resize(ref _buffer, _buffer.Length * 2);
            }
        }

        var count = _current.Read(_buffer.AsSpan(_end), _offset);
        if (count > 0)
        {
            _end += count;
            _offset += count;
            return true;
        }

        if (_current.Length < _offset)
        {
            _warn($"{_log.Path} was cut off by somebody: beginning again at its start");
            _selects = false;
            Restart();
            return true;
        }

        return false;
    }

    /// <summary>Goes on with the file that was begun after the current one, if there is one.</summary>
    private bool MoveOn()
    {
        if (_files.TryDequeue(out var newer))
        {
            SwitchTo(newer);
            return true;
        }

        if (!_follow)
        {
            return false;
        }

        if (_current is null)
        {
            var files = _log.OpenAll();
            files.Skip(1).ToList().ForEach(_files.Enqueue);
            _current = files.FirstOrDefault();
            return _current is not null;
        }

        if (_next is not null)
        {
            SwitchTo(_next);
            _next = null;
            return true;
        }

        _next = _log.OpenNext(_current, out var lost);
        if (lost)
        {
            _warn($"{_log.Path} was rotated away faster than it could be read: something is missing here");
        }

        // The current one is read to its end once more: what was added before the next one was begun may have come after our last look.
        return _next is not null;
    }

    private void SwitchTo(LogFile file)
    {
        if (_end > _start || _skipsLine)
        {
            // A machine or a disk that failed in the middle of a record.
            Malformed++;
        }

        _current?.Dispose();
        _current = file;
        _fileNumber++;
        Restart();
    }

    private void Restart()
    {
        (_start, _searched, _end, _skipsLine) = (0, 0, 0, false);
        _offset = 0;
    }
}
