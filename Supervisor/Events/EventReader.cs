using Containerd;
using Shim.Tasks;

namespace Supervisor.Events;

/// <summary>A place in the event log. Holds a buffer of a few KiB and nothing else, however far behind it is.</summary>
internal sealed class EventReader
{
    private readonly EventLog _log;
    private EventLog.Segment? _segment;
    private LineLog.Reader? _lines;

    internal EventReader(EventLog log, ulong after)
    {
        _log = log;
        Position = after;
    }

    /// <summary>The number of the last event that was read.</summary>
    internal ulong Position { get; private set; }

    /// <summary>The next event if there is one. Throws Precondition when it is no longer kept.</summary>
    internal bool TryRead(out EventRecord record)
    {
        while (true)
        {
            if (_lines is null || _segment is null)
            {
                _segment = _log.SegmentAfter(Position);
                _lines = _segment.Lines.ReadFrom();
            }

            // Asked for before reading: once there is a next segment, this one is complete.
            var newest = _log.NewestSequence;
            var behind = _log.SegmentBehind(_segment);
            if (TryReadLine(_lines, behind is null ? ulong.MaxValue : behind.First - 1, out record))
            {
                return true;
            }

            if (newest <= Position)
            {
                return false;
            }

            if (_segment.Lines.IsClosed)
            {
                // Thrown away meanwhile: the log knows whether that is too early for this reader.
                _lines = null;
                continue;
            }

            // What is not in a complete segment is lost (the file was damaged), and the next segment says where the numbers go on.
            _segment = behind;
            _lines = _segment?.Lines.ReadFrom();
            Position = Math.Max(Position, _segment is null ? newest : _segment.First - 1);
        }
    }

    /// <summary>Completes when there may be another event.</summary>
    internal Task WaitAsync(CancellationToken cancellationToken) => _log.WaitAfterAsync(Position, cancellationToken);

    // A number beyond the segment's last is damage: following it would lose all that comes before it.
    private bool TryReadLine(LineLog.Reader lines, ulong last, out EventRecord record)
    {
        try
        {
            while (lines.TryRead(out var line))
            {
                if (EventLog.SequenceOf(line.Span) is { } sequence && sequence > Position && sequence <= last)
                {
                    Position = sequence;
                    if (EventLog.Parse(line.Span) is { } whole)
                    {
                        record = whole;
                        return true;
                    }
                }
            }
        }
        catch (ObjectDisposedException)
        {
            throw TaskException.Precondition($"events after {Position} are no longer kept: this reader is too far behind");
        }

        record = null!;
        return false;
    }
}
