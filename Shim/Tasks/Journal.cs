using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace Shim.Tasks;

/// <summary>
/// The events of a container, in order, on disk before anyone hears of them. Order is decided by <see cref="Append"/>, which never
/// waits and may be called under a lock; the writing is done by one task behind it.
/// </summary>
internal sealed class Journal : IDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly LineLog _log;
    private readonly TaskLog _trouble;
    private readonly Channel<(TaskEvent Event, TaskCompletionSource Written)> _queue =
        Channel.CreateUnbounded<(TaskEvent, TaskCompletionSource)>(new UnboundedChannelOptions { SingleReader = true });

    private long _sequence;
    private long _written;

    private Journal(LineLog log, TaskLog trouble, long sequence)
    {
        _log = log;
        _trouble = trouble;
        _sequence = sequence;
        _written = sequence;
        _ = Task.Run(WriteAsync);
    }

    /// <summary>Number of the newest event, 0 before the first.</summary>
    internal long Sequence => Volatile.Read(ref _sequence);

    /// <summary>Events that are decided and not yet on disk.</summary>
    internal long Queued => Sequence - Volatile.Read(ref _written);

    /// <summary>Bytes on disk.</summary>
    internal long Length => _log.Length;

    /// <summary>Opens the journal of a container, or begins one. An existing one is continued.</summary>
    internal static Journal Open(string path, TaskLog trouble)
    {
        var log = LineLog.Open(path);
        var reader = log.ReadFrom();
        long sequence = 0;
        while (reader.TryRead(out var line))
        {
            sequence = TaskEventJson.Read(line).Sequence;
        }

        return new Journal(log, trouble, sequence);
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
    /// Everything after <paramref name="after"/>, then (with <paramref name="follow"/>) what comes, until the journal is closed.
    /// </summary>
    internal async IAsyncEnumerable<TaskEvent> ReadAsync(long after, bool follow, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var reader = _log.ReadFrom();
        while (true)
        {
            while (reader.TryRead(out var line))
            {
                cancellationToken.ThrowIfCancellationRequested();
                var what = TaskEventJson.Read(line);
                if (what.Sequence > after)
                {
                    yield return what;
                }
            }

            if (!follow || _log.IsClosed)
            {
                yield break;
            }

            await reader.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _queue.Writer.TryComplete();
        _log.Dispose();
    }

    private async Task WriteAsync()
    {
        await foreach (var (what, written) in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
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
                    return;
                }
                catch (IOException e)
                {
                    // Most likely a full disk. The event is kept and the order with it; callers do not wait for ever (see Container).
                    if (attempt == 0)
                    {
                        _trouble.Error($"cannot write event {what.Sequence} to the journal, will try again: {e.Message}");
                    }

                    await Task.Delay(s_retry).ConfigureAwait(false);
                }
            }

            Volatile.Write(ref _written, what.Sequence);
            written.TrySetResult();
        }
    }
}
