using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>What happened to a container or to one of its processes.</summary>
internal enum TaskEventType
{
    Create,
    ExecAdded,
    Start,
    Exit,
    Oom,
    Pause,
    Resume,
    Update,
    Checkpoint,
    Delete,
}

/// <summary>One event of a container.</summary>
/// <param name="Type">What happened.</param>
/// <param name="ContainerId">To which container.</param>
/// <param name="Pid">To which process (host pid).</param>
/// <param name="Init">Whether that is the container's init.</param>
/// <param name="Exit">How it ended, for <see cref="TaskEventType.Exit"/>.</param>
internal sealed record TaskEvent(TaskEventType Type, string ContainerId, int Pid, bool Init, ExitRecord? Exit = null)
{
    /// <summary>The number of this event, counting from 1 for the life of the container.</summary>
    internal long Sequence { get; init; }

    internal DateTimeOffset Time { get; init; }

    /// <summary>The name that its creator gave to an added process; empty where processes go by their pids.</summary>
    internal string ExecId { get; init; } = "";

    /// <summary>Where the checkpoint lies, for <see cref="TaskEventType.Checkpoint"/>.</summary>
    internal string Checkpoint { get; init; } = "";

    /// <summary>
    /// What a successor of this shim needs to find the process and its streams again, with the event that adds the process, or, if it is read back from a
    /// checkpoint, with that of its start. Only in the journal.
    /// </summary>
    internal ProcessTrace? Trace { get; init; }
}
