namespace Shim.Tasks;

/// <summary>Where an added process is in its life. While its container is paused it reports that instead of running.</summary>
internal enum ExecState
{
    Running,
    Stopped,
    Deleted,
}

/// <summary>What can happen to an added process.</summary>
internal enum ExecEvent
{
    Signal,
    Exit,
    Delete,
}

/// <summary>The life of an added process as one table. There is no state before running: the runtime creates and starts in one step.</summary>
internal static class ExecStates
{
    /// <summary>The state after <paramref name="what"/>, or null when it cannot happen in <paramref name="state"/>.</summary>
    internal static ExecState? TryNext(ExecState state, ExecEvent what) => (state, what) switch
    {
        (ExecState.Running, ExecEvent.Signal) => state,
        (ExecState.Running, ExecEvent.Exit) => ExecState.Stopped,
        (ExecState.Stopped or ExecState.Deleted, ExecEvent.Exit) => state,
        (ExecState.Stopped, ExecEvent.Delete) => ExecState.Deleted,
        _ => null,
    };
}
