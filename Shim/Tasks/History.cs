using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>What the journal of a container adds up to: what a shim must know that takes the place of one that was lost.</summary>
internal sealed class History
{
    private readonly Dictionary<int, PastProcess> _processes = [];

    /// <summary>Where the container is in its life; null when the journal knows of none (any more).</summary>
    internal InitState? State { get; private set; }

    /// <summary>Whether an OOM kill was ever reported.</summary>
    internal bool HasOom { get; private set; }

    /// <summary>The init process.</summary>
    internal PastProcess Init => _processes.Values.First(process => process.IsInit);

    /// <summary>The execs that nobody has deleted.</summary>
    internal IEnumerable<PastProcess> Execs => _processes.Values.Where(process => !process.IsInit);

    /// <summary>Reads the journal to its end.</summary>
    internal static async Task<History> ReadAsync(Journal journal)
    {
        var history = new History();
        await foreach (var what in journal.ReadAsync(0, follow: false, CancellationToken.None).ConfigureAwait(false))
        {
            history.Apply(what);
        }

        return history;
    }

    /// <summary>One event more. Events come in their order.</summary>
    internal void Apply(TaskEvent what)
    {
        var process = _processes.GetValueOrDefault(what.Pid);
        switch (what.Type)
        {
            case TaskEventType.Create:
                _processes.Clear();
                State = what.Pid == 0 ? InitState.Restorable : InitState.Created;
                Add();
                break;
            case TaskEventType.ExecAdded:
                Add();
                break;
            case TaskEventType.Start:
                if (what.Init && State == InitState.Restorable)
                {
                    // It had no pid before.
                    _processes.Remove(0);
                }

                _processes[what.Pid] = (process ?? Unknown()) with { StartedAt = what.Time };
                State = what.Init && State is (InitState.Created or InitState.Restorable) ? InitState.Running : State;
                break;
            case TaskEventType.Exit:
                _processes[what.Pid] = (process ?? Unknown()) with { Exit = what.Exit };
                State = what.Init ? InitState.Stopped : State;
                break;
            case TaskEventType.Delete when what.Init:
                State = null;
                break;
            case TaskEventType.Delete:
                _processes.Remove(what.Pid);
                break;
            case TaskEventType.Pause:
                State = InitState.Paused;
                break;
            case TaskEventType.Resume:
                State = InitState.Running;
                break;
            case TaskEventType.Oom:
                HasOom = true;
                break;
        }

        void Add() => _processes[what.Pid] = Unknown();

        // Where the journal is damaged, the line that tells how to find the process may be missing.
        PastProcess Unknown() => new(what.Pid, what.Init, what.Trace ?? s_noTrace, what.Time);
    }

    private static readonly ProcessTrace s_noTrace = new(0, new StreamAddresses("", "", "", false), "", "");
}

/// <summary>A process as the journal knows it.</summary>
/// <param name="Pid">Host pid.</param>
/// <param name="IsInit">The container's first process.</param>
/// <param name="Trace">What leads to it.</param>
/// <param name="CreatedAt">When it was added.</param>
internal sealed record PastProcess(int Pid, bool IsInit, ProcessTrace Trace, DateTimeOffset CreatedAt)
{
    /// <summary>Null while the init waits for its start.</summary>
    internal DateTimeOffset? StartedAt { get; init; }

    /// <summary>How it ended, if it has.</summary>
    internal ExitRecord? Exit { get; init; }
}
