using System.Text.Json;
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
            if (TryReadLine(_lines, out record))
            {
                return true;
            }

            if (newest <= Position)
            {
                return false;
            }

            _lines = null;
        }
    }

    /// <summary>Completes when there may be another event.</summary>
    internal Task WaitAsync(CancellationToken cancellationToken) => _log.WaitAfterAsync(Position, cancellationToken);

    private bool TryReadLine(LineLog.Reader lines, out EventRecord record)
    {
        try
        {
            while (lines.TryRead(out var line))
            {
                if (EventLog.SequenceOf(line.Span) is { } sequence && sequence > Position)
                {
                    record = JsonSerializer.Deserialize(line.Span, EventJson.Default.EventRecord)!;
                    Position = sequence;
                    return true;
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
