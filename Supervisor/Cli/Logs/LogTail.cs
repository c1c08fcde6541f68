namespace Supervisor.Cli.Logs;

/// <summary>Finds where the last lines of logs begin, reading backwards from their ends.</summary>
internal static class LogTail
{
    // How far to look for the beginning of the oldest line, when it is one of many parts and another stream has written much in between.
    private const long MaxSearch = 1024 * 1024;

    /// <summary>Where to start to read the last <paramref name="lines"/> lines of all streams together: for each log a position of each stream.</summary>
    /// <param name="logs">The files of each log, oldest first.</param>
    /// <param name="formats">How each log's records look.</param>
    /// <param name="lines">How many lines.</param>
    /// <param name="until">Lines that begin later do not count.</param>
    internal static (LogPosition Stdout, LogPosition Stderr)[] Find(IReadOnlyList<List<LogFile>> logs, IReadOnlyList<RecordFormat> formats, long lines, long? until)
    {
        var scans = logs.Select((files, i) => new Scan(files, RecordParser.Of(formats[i]))).ToArray();
        var counted = 0L;
        var searched = 0L;
        while (Newest(scans) is { } scan)
        {
            if (scan.Time > until)
            {
                scan.MoveBack();
                continue;
            }

            if (!scan.BeginsLine)
            {
                scan.Continue();
            }
            else if (counted < lines)
            {
                counted++;
                scan.Begin();
            }
            else
            {
                scan.Close();
            }

            searched += counted == lines ? scan.Length : 0;
            if (counted == lines && (searched > MaxSearch || !scans.Any(one => one.IsInLine)))
            {
                break;
            }

            scan.MoveBack();
        }

        return [.. scans.Select(scan => (scan.From(LogStream.Stdout), scan.From(LogStream.Stderr)))];
    }

    /// <summary>The log whose last record, of those not yet seen, is the newest.</summary>
    private static Scan? Newest(Scan[] scans)
    {
        Scan? newest = null;
        foreach (var scan in scans)
        {
            if (!scan.AtEnd && (newest is null || scan.Time > newest.Time))
            {
                newest = scan;
            }
        }

        return newest;
    }

    /// <summary>One log, read backwards, and what is known of its two streams.</summary>
    private sealed class Scan
    {
        private readonly List<LogFile> _files;
        private readonly RecordParser _parser;
        private readonly StreamState[] _streams;
        private BackwardLines? _lines;
        private int _file;
        private LogPosition _position;
        private LogStream _stream;
        private bool _endsLine;

        internal Scan(List<LogFile> files, RecordParser parser)
        {
            (_files, _parser) = (files, parser);
            _file = files.Count - 1;
            _lines = files.Count > 0 ? new BackwardLines(files[^1]) : null;

            // Until something is chosen, a reader starts where there is nothing yet.
            var end = new LogPosition(Math.Max(_file, 0), _lines?.End ?? 0);
            _streams = [new StreamState { From = end }, new StreamState { From = end }];
            MoveBack();
        }

        internal bool AtEnd { get; private set; }

        /// <summary>When the present record was written.</summary>
        internal long Time { get; private set; }

        /// <summary>The bytes of the present record.</summary>
        internal long Length { get; private set; }

        /// <summary>Whether, seen from behind, another line begins with the present record.</summary>
        internal bool BeginsLine => _endsLine || !State.Seen;

        /// <summary>Whether the beginning of a chosen line may still be found.</summary>
        internal bool IsInLine => Array.Exists(_streams, stream => stream.InLine);

        private StreamState State => _streams[(int)_stream];

        internal LogPosition From(LogStream stream) => _streams[(int)stream].From;

        internal void Begin() => (State.Seen, State.InLine, State.From) = (true, true, _position);

        internal void Continue()
        {
            if (State.InLine)
            {
                State.From = _position;
            }
        }

        internal void Close() => (State.Seen, State.InLine) = (true, false);

        /// <summary>To the record before the present one.</summary>
        internal void MoveBack()
        {
            while (_lines is not null)
            {
                if (!_lines.TryRead(out var line, out var offset))
                {
                    _lines = --_file >= 0 ? new BackwardLines(_files[_file]) : null;
                }
                else if (_parser.TryParse(line, out var record) && LogTime.TryParse(record.Time, out var time))
                {
                    _position = new LogPosition(_file, offset);
                    (_stream, _endsLine, Time, Length) = (record.Stream, record.EndsLine, time, line.Length + 1);
                    return;
                }
            }

            AtEnd = true;
        }

        private sealed class StreamState
        {
            /// <summary>Its first record that is chosen.</summary>
            internal LogPosition From { get; set; }

            /// <summary>Whether one of its records has been met.</summary>
            internal bool Seen { get; set; }

            /// <summary>Whether the line whose parts are being met is chosen, and its beginning has not been met.</summary>
            internal bool InLine { get; set; }
        }
    }
}
