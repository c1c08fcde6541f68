using System.Globalization;
using System.Text.Json;
using Shim.Tasks;

namespace Supervisor.Events;

/// <content>
/// What a former supervisor has left. Damage never keeps a supervisor from starting: what can be read is used, and numbers that may have been
/// given are not given again. What has been lost of a container is then told anew by its shim or its journal.
/// </content>
internal sealed partial class EventLog
{
    // No event is shorter, so that a damaged part is never taken for fewer than there were in it.
    private const int MinLineBytes = 64;

    private readonly List<string> _damage = [];

    /// <summary>What could not be read when the log was opened, in sentences.</summary>
    internal IReadOnlyList<string> Damage => _damage;

    /// <summary>Whether events were lost that the state of containers depends on.</summary>
    internal bool HasLostEvents { get; private set; }

    /// <summary>An event as a line has it; null for anything else.</summary>
    internal static EventRecord? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            return SequenceOf(line) is null ? null : JsonSerializer.Deserialize(line, EventJson.Default.EventRecord);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The first line of a segment.</summary>
    private static EventCheckpoint? ParseCheckpoint(ReadOnlySpan<byte> line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, EventJson.Default.EventCheckpoint);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Load()
    {
        RemoveUnfinished();
        var unreadable = 0UL;
        foreach (var path in Directory.EnumerateFileSystemEntries(_directory, "*" + Suffix).Order(StringComparer.Ordinal))
        {
            if (ulong.TryParse(Path.GetFileNameWithoutExtension(path.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var first) && first > 0)
            {
                unreadable = TryOpenSegment(first, path) ? unreadable : first;
            }
        }

        // The last one alone, unless its beginning is lost. Everything before it is only there for readers.
        var start = _segments.FindLastIndex(segment => HasCheckpoint(segment.Lines));
        HasLostEvents = start < _segments.Count - 1 || unreadable > (start < 0 ? 0 : _segments[start].First);
        foreach (var segment in _segments.Skip(Math.Max(start, 0)))
        {
            _newest = Math.Max(_newest, segment.First - 1);
            LoadSegment(segment);
        }

        _damage.AddRange(_segments.Skip(start + 1).Select(segment => $"{segment.Path} does not begin with a checkpoint"));
        if (HasLostEvents)
        {
            Distrust();
        }

        if (_segments.Count == 0 || HasLostEvents)
        {
            // The damage ends here: the next supervisor starts from this checkpoint.
            AddSegment(_newest + 1);
        }
    }

    /// <summary>Segments that somebody died over while he began them.</summary>
    private void RemoveUnfinished()
    {
        try
        {
            foreach (var path in Directory.EnumerateFiles(_directory, $"*{Suffix}{LineLogRewrite.Suffix}"))
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _damage.Add($"{_directory} cannot be tidied up: {e.Message}");
        }
    }

    private bool TryOpenSegment(ulong first, string path)
    {
        var size = 0L;
        try
        {
            size = new FileInfo(path) is { Exists: true } file ? file.Length : 0;
            var lines = LineLog.Open(path);
            if (lines.Cut.Bytes > 0)
            {
                _damage.Add($"{path}: the last line, at offset {lines.Cut.Offset}, is unfinished and was cut off ({lines.Cut.Bytes} bytes)");
            }

            if (lines.Length > 0)
            {
                _segments.Add(new Segment(first, path, lines));
                return true;
            }

            lines.Dispose();
            _damage.Add($"{path} is empty");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _damage.Add($"{path} cannot be read: {e.Message}");
        }

        // Whatever was in it: as many events as fit.
        _newest = Math.Max(_newest, first + (ulong)(Math.Max(_segmentBytes, size) / MinLineBytes));
        return false;
    }

    private static bool HasCheckpoint(LineLog lines) => lines.ReadFrom().TryRead(out var line) && ParseCheckpoint(line.Span) is not null;

    private void LoadSegment(Segment segment)
    {
        var damage = new LineDamage(segment.Path);
        var most = _newest + 1 + (ulong)(segment.Lines.Length / MinLineBytes);
        var reader = segment.Lines.ReadFrom();
        for (var offset = 0L; reader.TryRead(out var line); offset = reader.Offset)
        {
            if (Parse(line.Span) is { } record && record.Sequence > _newest && record.Sequence <= most)
            {
                Apply(record);
                _newest = record.Sequence;
            }
            else if (offset == 0 && ParseCheckpoint(line.Span) is { } checkpoint)
            {
                _tracks.Clear();
                foreach (var (id, track) in checkpoint.Containers)
                {
                    _tracks[id] = track;
                }
            }
            else if (offset == 0 || line.Span.IndexOfAnyExcept((byte)' ') >= 0)
            {
                damage.Add(offset, line.Length);
            }
        }

        if (damage.Any)
        {
            _damage.Add(damage.ToString());
            _newest += (ulong)damage.MostLines(MinLineBytes);
            HasLostEvents = true;
        }
    }

    /// <summary>
    /// Of a container that has not ended we no longer know what we have missed: its shim, or its journal, is to tell everything again. The end of
    /// the others is known, and stays.
    /// </summary>
    private void Distrust()
    {
        foreach (var (id, track) in _tracks.Where(pair => pair.Value.Exit is null).ToList())
        {
            _tracks[id] = track with { ShimSequence = 0 };
        }
    }
}
