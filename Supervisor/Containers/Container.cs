using Containerd;
using Containerd.V1;
using Supervisor.Events;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>
/// One container as the supervisor knows it: what was asked, what its events add up to, and the link to its shim. What it says of
/// the status it says from memory; nothing here waits for a shim.
/// </summary>
internal sealed class Container
{
    private readonly Lock _lock = new();

    // Held while container.json is written: who changes it changes what is in it.
    private readonly Lock _recordLock = new();
    private readonly EventLog _events;
    private TaskCompletionSource? _change;
    private ContainerTrack? _track;
    private ContainerTrack? _last;
    private Task? _deletion;
    private readonly Queue<long> _adoptions = new();

    internal Container(string id, ContainerDirectory directory, EventLog events, ContainerRecord? record = null)
    {
        Id = id;
        Directory = directory;
        _events = events;
        Record = record;
        _track = _last = events.Track(id);
        ShimSequence = _track?.ShimSequence ?? 0;
    }

    /// <summary>The id that the client chose.</summary>
    internal string Id { get; }

    /// <summary>Where it lies on disk.</summary>
    internal ContainerDirectory Directory { get; }

    /// <summary>What is in container.json; null when that could not be read.</summary>
    internal ContainerRecord? Record { get; private set; }

    /// <summary>The shim; null while there is none to talk to.</summary>
    internal ShimLink? Link { get; set; }

    /// <summary>What handles the end of the shim, once the container is present.</summary>
    internal Task ShimEnd { get; set; } = Task.CompletedTask;

    /// <summary>Whether clients may see it: from the end of a successful creation until its DELETED event.</summary>
    internal bool IsPresent => IsCommitted && Track is not null;

    /// <summary>Whether somebody wants it gone.</summary>
    internal bool IsDeleting
    {
        get
        {
            lock (_lock)
            {
                return _deletion is { IsFaulted: false, IsCanceled: false } || Record is { Deleting: true };
            }
        }
    }

    /// <summary>Whether it was created completely and its DELETED event is out: only remains of it can be there still.</summary>
    internal bool HasDeleted => IsCommitted && Track is null;

    /// <summary>Whether its creation was completed.</summary>
    internal bool IsCommitted { get; set; }

    /// <summary>The state as of the newest event; null before the first and after the last.</summary>
    internal ContainerTrack? Track => Volatile.Read(ref _track);

    /// <summary>The last state that was known, also after the container is gone.</summary>
    internal ContainerTrack? LastTrack => Volatile.Read(ref _last);

    /// <summary>The shim's number of the last of its events that was recorded; it outlives the container's deletion.</summary>
    internal ulong ShimSequence { get; private set; }

    /// <summary>Takes a record that is on disk, or that could be put together without it.</summary>
    internal void Remember(ContainerRecord record)
    {
        lock (_recordLock)
        {
            Record = record;
        }
    }

    /// <summary>Writes container.json, and only then counts on it.</summary>
    internal void Save(Func<ContainerRecord?, ContainerRecord> change)
    {
        lock (_recordLock)
        {
            var record = change(Record);
            Directory.Write(record);
            Record = record;
        }
    }

    /// <summary>Records an event of this container. One caller at a time: the shim's stream, or who takes over after its end.</summary>
    internal EventRecord Publish(EventRecord draft)
    {
        var record = _events.Append(draft);
        TaskCompletionSource? change;
        lock (_lock)
        {
            ShimSequence = Math.Max(ShimSequence, record.ShimSequence);
            var track = ContainerTrack.Apply(_track, record);
            Volatile.Write(ref _track, track);
            if (track is not null)
            {
                Volatile.Write(ref _last, track);
            }

            change = _change;
            _change = null;
        }

        change?.TrySetResult();
        return record;
    }

    /// <summary>Throws while events of this container could not be recorded.</summary>
    internal void RequireRoom() => _events.RequireRoom(always: true);

    /// <summary>Completes once the shim's events up to <paramref name="shimSequence"/> are recorded.</summary>
    internal Task WaitForEventsAsync(ulong shimSequence, CancellationToken cancellationToken) =>
        WaitUntilAsync(_ => ShimSequence >= shimSequence, cancellationToken);

    /// <summary>Completes once the container's CREATED event is recorded.</summary>
    internal Task WaitForCreationAsync(CancellationToken cancellationToken) => WaitUntilAsync(track => track is not null, cancellationToken);

    /// <summary>Completes once init has ended; says how. The container may be gone by then.</summary>
    internal async Task<ExitRecord> WaitForExitAsync(CancellationToken cancellationToken)
    {
        await WaitUntilAsync(track => track is null || track.Exit is not null, cancellationToken);
        return LastTrack?.Exit ?? throw TaskException.NotFound($"container {Id} is gone and the exit of its init process is not known");
    }

    /// <summary>Completes once the container's DELETED event is recorded, whoever has asked for that.</summary>
    internal Task WaitForDeletionAsync(CancellationToken cancellationToken) =>
        WaitUntilAsync(track => track is null && LastTrack is not null, cancellationToken);

    /// <summary>Whether <paramref name="pid"/> names the init process: 0 or its pid.</summary>
    internal bool IsInit(uint pid) => pid == 0 || pid == LastTrack?.InitPid;

    /// <summary>
    /// The one deletion of this container, started by the first who wants it. A deletion that failed is over, and the next caller
    /// starts another.
    /// </summary>
    internal Task DeleteOnce(Func<Task> delete)
    {
        lock (_lock)
        {
            if (_deletion is null || _deletion.IsFaulted || _deletion.IsCanceled)
            {
                _deletion = Task.Run(delete);
            }

            return _deletion;
        }
    }

    /// <summary>The status for clients.</summary>
    internal Status Status => LastTrack?.Status ?? Status.Created;

    /// <summary>Whether one more adoption is no more than so many in that time; if it is, it counts.</summary>
    internal bool MayAdopt(int limit, TimeSpan period)
    {
        lock (_lock)
        {
            while (_adoptions.TryPeek(out var when) && Environment.TickCount64 - when > period.TotalMilliseconds)
            {
                _adoptions.Dequeue();
            }

            if (_adoptions.Count >= limit)
            {
                return false;
            }

            _adoptions.Enqueue(Environment.TickCount64);
            return true;
        }
    }

    private async Task WaitUntilAsync(Func<ContainerTrack?, bool> isReached, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task change;
            lock (_lock)
            {
                if (isReached(_track))
                {
                    return;
                }

                _change ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                change = _change.Task;
            }

            await change.WaitAsync(cancellationToken);
        }
    }
}
