using System.Buffers.Text;
using System.Globalization;
using System.Text.Json;
using Containerd;
using Shim.Tasks;

namespace Supervisor.Events;

/// <summary>
/// The one ordered stream of events, on disk: numbered from 1 without a gap, across restarts. An event is in the file before any
/// reader can see it. Readers read the files, so a slow one costs no memory and delays nobody. The log is a row of segments of which
/// the oldest are thrown away; each begins with a checkpoint of all containers, so that the last one is enough to start from.
/// </summary>
internal sealed partial class EventLog : IDisposable
{
    internal const long DefaultSegmentBytes = 4 * 1024 * 1024;
    internal const int DefaultKeptSegments = 8;
    private const string Suffix = ".events";

    private readonly Lock _lock = new();
    private readonly string _directory;
    private readonly long _segmentBytes;
    private readonly int _keptSegments;
    private readonly List<Segment> _segments = [];
    private readonly Dictionary<string, ContainerTrack> _tracks = new(StringComparer.Ordinal);
    private ulong _newest;
    private TaskCompletionSource? _growth;
    private bool _closed;

    private EventLog(string directory, long segmentBytes, int keptSegments)
    {
        _directory = directory;
        _segmentBytes = segmentBytes;
        _keptSegments = keptSegments;
    }

    /// <summary>The number of the newest event; 0 when there never was one.</summary>
    internal ulong NewestSequence => Volatile.Read(ref _newest);

    /// <summary>The number of the oldest event that is kept (one past the newest when none is).</summary>
    internal ulong OldestSequence
    {
        get
        {
            lock (_lock)
            {
                return _segments[0].First;
            }
        }
    }

    /// <summary>Opens the log in <paramref name="directory"/>, which must exist, and reads what its last segment knows.</summary>
    internal static EventLog Open(string directory, long segmentBytes = DefaultSegmentBytes, int keptSegments = DefaultKeptSegments)
    {
        var log = new EventLog(directory, segmentBytes, keptSegments);
        try
        {
            log.Load();
            return log;
        }
        catch
        {
            log.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Gives the event its number and writes it down. When this throws (a full disk), nothing was recorded and the event can be
    /// offered again.
    /// </summary>
    internal EventRecord Append(EventRecord draft)
    {
        TaskCompletionSource? growth;
        EventRecord record;
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            record = draft with { Sequence = _newest + 1 };
            Write(JsonSerializer.SerializeToUtf8Bytes(record, EventJson.Default.EventRecord));
            Apply(record);
            Volatile.Write(ref _newest, record.Sequence);
            growth = _growth;
            _growth = null;
        }

        growth?.TrySetResult();
        return record;
    }

    /// <summary>In a sentence, why events cannot be recorded; empty while they can.</summary>
    internal string Trouble { get; private set; } = "";

    /// <summary>
    /// Refuses what would lead to events while none can be recorded. Costs nothing as long as all is well; after a failure it tries whether there is
    /// room again, because nobody else may have a reason to.
    /// </summary>
    /// <param name="always">Try also when nothing has failed yet: for what cannot be done twice.</param>
    internal void RequireRoom(bool always = false)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            if (always || Trouble.Length > 0)
            {
                // Blanks, which no reader minds, and as many as a few events need.
                Span<byte> blanks = stackalloc byte[1024];
                blanks.Fill((byte)' ');
                Write(blanks);
            }
        }
    }

    /// <summary>What the events of a container add up to; null when it was not created or is deleted.</summary>
    internal ContainerTrack? Track(string containerId)
    {
        lock (_lock)
        {
            return _tracks.GetValueOrDefault(containerId);
        }
    }

    /// <summary>The ids of all containers that were created and not deleted.</summary>
    internal string[] TrackedContainers()
    {
        lock (_lock)
        {
            return [.. _tracks.Keys];
        }
    }

    /// <summary>A reader of everything after <paramref name="sequence"/>. For one task at a time.</summary>
    internal EventReader ReadAfter(ulong sequence)
    {
        if (sequence > NewestSequence)
        {
            throw TaskException.Invalid($"no events after {sequence} yet: the newest is {NewestSequence}");
        }

        return new EventReader(this, sequence);
    }

    /// <summary>Completes when there is an event after <paramref name="sequence"/>, or when the log is closed.</summary>
    internal Task WaitAfterAsync(ulong sequence, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_newest > sequence || _closed)
            {
                return Task.CompletedTask;
            }

            _growth ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _growth.Task.WaitAsync(cancellationToken);
        }
    }

    /// <summary>The segment that holds the event after <paramref name="sequence"/>, or will hold it.</summary>
    internal Segment SegmentAfter(ulong sequence)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            var index = _segments.FindLastIndex(segment => segment.First <= sequence + 1);
            return index >= 0
                ? _segments[index]
                : throw TaskException.Precondition($"events after {sequence} are no longer kept: the oldest is {_segments[0].First}");
        }
    }

    /// <summary>The segment after another one; null when that is the last.</summary>
    internal Segment? SegmentBehind(Segment segment)
    {
        lock (_lock)
        {
            return _segments.Find(other => other.First > segment.First);
        }
    }

    /// <summary>The number of the event in a line, read without parsing the rest; null for a checkpoint.</summary>
    internal static ulong? SequenceOf(ReadOnlySpan<byte> line)
    {
        var prefix = "{\"n\":"u8;
        return line.StartsWith(prefix) && Utf8Parser.TryParse(line[prefix.Length..], out ulong sequence, out _) ? sequence : null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        TaskCompletionSource? growth;
        lock (_lock)
        {
            _closed = true;
            foreach (var segment in _segments)
            {
                segment.Lines.Dispose();
            }

            growth = _growth;
            _growth = null;
        }

        growth?.TrySetResult();
    }

    private void Apply(EventRecord record)
    {
        if (ContainerTrack.Apply(_tracks.GetValueOrDefault(record.ContainerId), record) is { } track)
        {
            _tracks[record.ContainerId] = track;
        }
        else
        {
            _tracks.Remove(record.ContainerId);
        }
    }

    private void Write(ReadOnlySpan<byte> line)
    {
        try
        {
            if (_segments[^1].Lines.Length >= _segmentBytes)
            {
                Rotate();
            }

            _segments[^1].Lines.Append(line);
            Trouble = "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Trouble = $"events cannot be recorded: {e.Message}";
            throw new IOException(Trouble, e) { HResult = e.HResult };
        }
    }

    private void Rotate()
    {
        AddSegment(_newest + 1);
        while (_segments.Count > _keptSegments)
        {
            // A reader that is still in there is told that it is too far behind.
            var oldest = _segments[0];
            _segments.RemoveAt(0);
            oldest.Lines.Dispose();
            File.Delete(oldest.Path);
        }
    }

    private void AddSegment(ulong first)
    {
        var path = Path.Join(_directory, first.ToString("D20", CultureInfo.InvariantCulture) + Suffix);

        // By rename: a segment is there with its checkpoint or not at all.
        using var file = LineLogRewrite.Begin(path);
        file.Add(JsonSerializer.SerializeToUtf8Bytes(new EventCheckpoint { Containers = _tracks }, EventJson.Default.EventCheckpoint));
        _segments.Add(new Segment(first, path, file.Finish()));
    }

    /// <summary>One file of the log.</summary>
    /// <param name="First">The number of its first event.</param>
    /// <param name="Path">Where it lies.</param>
    /// <param name="Lines">What is in it: the checkpoint, then events.</param>
    internal sealed record Segment(ulong First, string Path, LineLog Lines);
}
