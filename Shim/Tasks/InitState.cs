using Containerd;

namespace Shim.Tasks;

/// <summary>Where a container is in its life. It is its init process's state.</summary>
internal enum InitState
{
    Created,

    /// <summary>Its processes are in a checkpoint, from which its start brings them back. Until then it has none.</summary>
    Restorable,
    Running,
    Paused,
    Stopped,
    Deleted,
}

/// <summary>What can happen to a container, or be asked of it.</summary>
internal enum InitEvent
{
    Start,
    Pause,
    Resume,
    Update,
    Exec,
    Checkpoint,
    Signal,
    Exit,
    Delete,
}

/// <summary>The life of a container as one table. Pure: callers ask first, act, and store the answer when the act has succeeded.</summary>
internal static class InitStates
{
    /// <summary>The state after <paramref name="what"/>, or null when it cannot happen in <paramref name="state"/>.</summary>
    internal static InitState? TryNext(InitState state, InitEvent what) => (state, what) switch
    {
        (InitState.Created or InitState.Restorable, InitEvent.Start) => InitState.Running,
        (InitState.Running, InitEvent.Pause) => InitState.Paused,
        (InitState.Paused, InitEvent.Resume) => InitState.Running,
        (InitState.Created or InitState.Running or InitState.Paused, InitEvent.Update or InitEvent.Signal) => state,
        (InitState.Running, InitEvent.Exec) => state,
        (InitState.Running or InitState.Paused, InitEvent.Checkpoint) => state,
        (InitState.Created or InitState.Running or InitState.Paused, InitEvent.Exit) => InitState.Stopped,

        // A late report changes nothing.
        (InitState.Stopped or InitState.Deleted, InitEvent.Exit) => state,
        (InitState.Stopped or InitState.Restorable, InitEvent.Delete) => InitState.Deleted,
        _ => null,
    };

    /// <summary>As <see cref="TryNext"/>, but a refusal is a failed precondition that names container, wish and state.</summary>
    internal static InitState Next(InitState state, InitEvent what, string id) =>
        TryNext(state, what) ?? throw TaskException.Precondition($"cannot {Verb(what)} container {id}: it is {Name(state)}");

    /// <summary>The state in lower case, as messages say it.</summary>
    internal static string Name(InitState state) => state switch
    {
        InitState.Created => "created and not started",
        InitState.Restorable => "created and not restored",
        InitState.Running => "running",
        InitState.Paused => "paused",
        InitState.Stopped => "stopped",
        _ => "deleted",
    };

    private static string Verb(InitEvent what) => what switch
    {
        InitEvent.Start => "start",
        InitEvent.Pause => "pause",
        InitEvent.Resume => "resume",
        InitEvent.Update => "update",
        InitEvent.Exec => "start a process in",
        InitEvent.Checkpoint => "checkpoint",
        InitEvent.Signal => "signal",
        InitEvent.Delete => "delete",
        _ => "end",
    };
}
