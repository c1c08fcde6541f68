using Containerd;

namespace Shim.Tasks;

/// <content>
/// What is dropped, and how. The writer alone rewrites, so nothing is appended meanwhile. Readers keep the number of the last event that they
/// have passed on: they find their place again in the new file, because nothing is dropped that one of them has not seen.
/// </content>
internal sealed partial class Journal
{
    // Reading and copying the file is worth that much.
    private const long MinDroppedEvents = 256;
    private const long MinDroppedBytes = 64 * 1024;

    // Without a supervisor, for whoever asks what has happened lately.
    private const long KeptAlone = 1024;

    // A subscriber who has stopped reading must not fill the disk: from this size on he is left behind.
    private const long MaxLength = 16 * 1024 * 1024;

    // Readers, each at its place. Also guards the exchange of _log.
    private readonly List<Place> _places = [];
    private bool _closed;
    private long _recorded;
    private long _droppedTo;
    private long _lines;
    private long _lengthAfterRewriting;
    private long _linesAtFailure = -MinDroppedEvents;

    /// <summary>In a sentence, why events queue up in memory; empty while they do not.</summary>
    internal string Trouble { get; private set; } = "";

    /// <summary>Whoever keeps the events for all says up to which number he has them on his own disk. Late and repeated words change nothing.</summary>
    internal void Recorded(long sequence)
    {
        sequence = Math.Min(sequence, Volatile.Read(ref _written));
        lock (_lock)
        {
            if (sequence <= _recorded)
            {
                return;
            }

            Volatile.Write(ref _recorded, sequence);
        }

        _queue.Writer.TryWrite((null, null));
    }

    private Place Enter(long after)
    {
        lock (_places)
        {
            var place = new Place(this, _log, after);
            _places.Add(place);
            return place;
        }
    }

    /// <summary>Rewrites the file if that pays. Called by the writer between two events.</summary>
    private void DropWhatIsRecorded()
    {
        var upTo = Droppable();
        var gain = upTo - _droppedTo;

        // At least half of the file, so that each line is copied twice at most, however long the file is.
        if (gain < Math.Max(1, _lines / 2)
            || (gain < MinDroppedEvents && _log.Length - _lengthAfterRewriting < MinDroppedBytes)
            || _lines < _linesAtFailure + MinDroppedEvents)
        {
            return;
        }

        try
        {
            Rewrite(upTo);
            _linesAtFailure = -MinDroppedEvents;
        }
        catch (ObjectDisposedException)
        {
            // Closed meanwhile.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The old file is as good as it was.
            _linesAtFailure = _lines;
            _trouble.Error($"{_path} could not be shortened: {e.Message}");
        }
    }

    private long Droppable()
    {
        var upTo = Volatile.Read(ref _recorded);
        if (_sizeAlone is { } limit && _log.Length > limit)
        {
            upTo = Math.Max(upTo, _written - KeptAlone);
        }

        lock (_places)
        {
            return _log.Length > MaxLength || _places.Count == 0 ? upTo : Math.Min(upTo, _places.Min(place => place.Position));
        }
    }

    private void Rewrite(long upTo)
    {
        var needed = new JournalExtract();
        ReadAll((what, _) =>
        {
            if (what.Sequence <= upTo)
            {
                needed.Apply(what);
            }
        });
        using var rewrite = LineLogRewrite.Begin(_path);
        rewrite.Add(new JournalHeader(upTo, _written).ToLine().Span);
        var lines = 0L;
        ReadAll((what, line) =>
        {
            if (what.Sequence > upTo || needed.Contains(what.Sequence))
            {
                rewrite.Add(line.Span);
                lines++;
            }
        });

        lock (_places)
        {
            if (_closed || (_log.Length <= MaxLength && _places.Exists(place => place.Position < upTo)))
            {
                // Somebody has begun to read from further back. There will be another time.
                return;
            }

            var before = _log;
            _log = rewrite.Finish();
            before.Dispose();
            foreach (var place in _places.Where(place => place.Position < upTo))
            {
                place.IsLeftBehind = true;
            }
        }

        _droppedTo = upTo;
        _lines = lines;
        _lengthAfterRewriting = _log.Length;
    }

    private void ReadAll(Action<TaskEvent, ReadOnlyMemory<byte>> act)
    {
        var reader = _log.ReadFrom();
        while (reader.TryRead(out var line))
        {
            if (TaskEventJson.TryRead(line, out var what))
            {
                act(what, line);
            }
        }
    }

    /// <summary>Where one reader is.</summary>
    private sealed class Place(Journal journal, LineLog log, long after) : IDisposable
    {
        private LineLog.Reader _reader = log.ReadFrom();
        private long _position = after;

        /// <summary>The file that is being read: the current one, or one that it has taken the place of.</summary>
        internal LineLog Log { get; private set; } = log;

        /// <summary>What came up to this number the reader has, or does not want.</summary>
        internal long Position => Volatile.Read(ref _position);

        /// <summary>Events that it has not seen are gone.</summary>
        internal bool IsLeftBehind { get; set; }

        /// <summary>The next event that this file has for the reader.</summary>
        internal bool TryRead(out TaskEvent what)
        {
            while (_reader.TryRead(out var line))
            {
                if (TaskEventJson.TryRead(line, out what!) && what.Sequence > _position)
                {
                    Volatile.Write(ref _position, what.Sequence);
                    return true;
                }
            }

            what = null!;
            return false;
        }

        /// <summary>Goes to the current file, if that is another one.</summary>
        internal bool MoveOn()
        {
            lock (journal._places)
            {
                if (IsLeftBehind)
                {
                    throw TaskException.Precondition($"events after {_position} are no longer kept: this reader is too far behind");
                }

                if (Log == journal._log)
                {
                    return false;
                }

                Log = journal._log;
                _reader = Log.ReadFrom();
                return true;
            }
        }

        internal Task WaitAsync(CancellationToken cancellationToken) => _reader.WaitAsync(cancellationToken);

        /// <inheritdoc/>
        public void Dispose()
        {
            lock (journal._places)
            {
                journal._places.Remove(this);
            }
        }
    }
}
