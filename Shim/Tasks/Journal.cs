using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Shim.Loops;

namespace Shim.Tasks;

/// <summary>
/// The events of a container, in order, on disk before anyone hears of them. Order is decided by <see cref="Append"/>, which never
/// waits and may be called under a lock; the writing is done by one task behind it, and so is the rewriting: what a supervisor has
/// recorded and no successor of this shim needs does not stay in the file.
/// </summary>
internal sealed partial class Journal : IDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly string _path;
    private readonly TaskLog _trouble;
    private readonly long? _sizeAlone;

    // An entry without an event only makes the writer look whether there is something to drop.
    private readonly Channel<(TaskEvent? Event, TaskCompletionSource? Written)> _queue =
        Channel.CreateUnbounded<(TaskEvent?, TaskCompletionSource?)>(new UnboundedChannelOptions { SingleReader = true });

    private LineLog _log;
    private long _sequence;
    private long _written;

    private Journal(LineLog log, string path, TaskLog trouble, long? sizeAlone)
    {
        _log = log;
        _path = path;
        _trouble = trouble;
        _sizeAlone = sizeAlone;
    }

    /// <summary>Number of the newest event, 0 before the first.</summary>
    internal long Sequence => Volatile.Read(ref _sequence);

    /// <summary>Events that are decided and not yet on disk.</summary>
    internal long Queued => Sequence - Volatile.Read(ref _written);

    /// <summary>Bytes on disk.</summary>
    internal long Length => Volatile.Read(ref _log).Length;

    /// <summary>
    /// Opens the journal of a container, or begins one. An existing one is continued; lines that are damaged are named in the log and
    /// passed over. A file without a single line of ours is somebody else's: it is refused and left alone.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="trouble">Is told of damage and of a disk that takes nothing.</param>
    /// <param name="sizeAlone">
    /// From this size on old events are dropped although nobody has said that he has recorded them; null for a shim that has a supervisor, who
    /// may be away and will want them all.
    /// </param>
    internal static Journal Open(string path, TaskLog trouble, long? sizeAlone = null)
    {
        LineLogRewrite.RemoveUnfinished(path);
        var journal = new Journal(LineLog.Open(path), path, trouble, sizeAlone);
        try
        {
            journal.Load();
        }
        catch
        {
            journal._log.Dispose();
            throw;
        }

        _ = Task.Run(journal.WriteAsync);
        return journal;
    }

    /// <summary>Gives <paramref name="what"/> its number and time. The task completes once it is on disk and subscribers can see it.</summary>
    internal Task Append(TaskEvent what)
    {
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            var numbered = what with { Sequence = _sequence + 1, Time = DateTimeOffset.UtcNow };
            Volatile.Write(ref _sequence, numbered.Sequence);
            _queue.Writer.TryWrite((numbered, written));
        }

        return written.Task;
    }

    /// <summary>
    /// Everything after <paramref name="after"/>, then (with <paramref name="follow"/>) what comes, until the journal is closed. What has been
    /// dropped before this call is missing; from then on nothing is.
    /// </summary>
    internal async IAsyncEnumerable<TaskEvent> ReadAsync(long after, bool follow, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var place = Enter(after);
        while (true)
        {
            while (place.TryRead(out var what))
            {
                cancellationToken.ThrowIfCancellationRequested();
                yield return what;
            }

            if (place.MoveOn())
            {
                continue;
            }

            if (!follow || place.Log.IsClosed)
            {
                yield break;
            }

            await place.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// The numbers go on at least after this one. For a successor whose predecessor's journal is damaged: what was told to others must not be
    /// told again with another meaning.
    /// </summary>
    internal void ContinueAfter(long sequence)
    {
        lock (_lock)
        {
            if (sequence > _sequence)
            {
                _trouble.Error($"{_path} ends with event {_sequence}, and event {sequence} is known to others: the events between are lost");
                Volatile.Write(ref _sequence, sequence);
                Volatile.Write(ref _written, sequence);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _queue.Writer.TryComplete();
        lock (_places)
        {
            _closed = true;
            _log.Dispose();
        }
    }

    private void Load()
    {
        if (_log.Cut is { Bytes: > 0 } cut)
        {
            _trouble.Error($"{_path}: the last line, at offset {cut.Offset}, is unfinished and was cut off ({cut.Bytes} bytes)");
        }

        var reader = _log.ReadFrom();
        var damage = new LineDamage(_path);
        for (var offset = 0L; reader.TryRead(out var line); offset = reader.Offset)
        {
            if (JournalHeader.TryRead(line, out var header))
            {
                _recorded = _droppedTo = Math.Max(_recorded, header.Recorded);
                _sequence = Math.Max(_sequence, header.Newest);
            }
            else if (TaskEventJson.TryRead(line, out var what))
            {
                _sequence = Math.Max(_sequence, what.Sequence);
                _lines++;
            }
            else
            {
                damage.Add(offset, line.Length);
            }
        }

        if (damage.Any && _sequence == 0)
        {
            throw new InvalidDataException($"{_path} has no line that is a journal's: {damage}");
        }

        if (damage.Any)
        {
            // Numbers that may have been in there must not be given twice.
            _sequence += damage.MostLines(TaskEventJson.MinLineBytes);
            _trouble.Error($"{damage}; what can be read is used");
        }

        _written = _sequence;
    }

    private async Task WriteAsync()
    {
        await foreach (var (what, written) in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            if (what is not null)
            {
                if (!await WriteAsync(what).ConfigureAwait(false))
                {
                    return;
                }

                written!.TrySetResult();
            }

            DropWhatIsRecorded();
        }
    }

    /// <summary>False when the journal is closed.</summary>
    private async Task<bool> WriteAsync(TaskEvent what)
    {
        var line = TaskEventJson.Write(what);
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                _log.Append(line.Span);
                break;
            }
            catch (ObjectDisposedException)
            {
                return false;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Most likely a full disk. The event is kept and the order with it; callers do not wait for ever (see Container).
                if (attempt == 0)
                {
                    _trouble.Error($"cannot write event {what.Sequence} to {_path}, will try again: {e.Message}");
                    Trouble = $"events cannot be written down: {e.Message}";
                }

                await Clock.DelayAsync(s_retry).ConfigureAwait(false);
            }
        }

        if (Trouble.Length > 0)
        {
            _trouble.Info($"event {what.Sequence} could be written to {_path} at last");
            Trouble = "";
        }

        _lines++;
        Volatile.Write(ref _written, what.Sequence);
        return true;
    }
}
