namespace Supervisor.Shims;

/// <summary>
/// How long each kind of call to a shim may take. Nothing waits for a shim without one of these. The shim bounds the runtime itself,
/// by somewhat less: whoever hits one of these has met a shim that is mute, not a runtime that hangs.
/// </summary>
internal static class Deadlines
{
    /// <summary>Calls that read: State, Pids, Stats, Info.</summary>
    internal static readonly TimeSpan Read = TimeSpan.FromSeconds(2);

    /// <summary>
    /// Calls that change something: Start, Pause, Resume, Update, Kill, Pty, CloseStdin, Attach, Detach, ReopenLogs. Longer than what the shim itself allows
    /// for the turn in its queue and for the runtime, so that its own words about what was slow arrive.
    /// </summary>
    internal static readonly TimeSpan Verb = TimeSpan.FromSeconds(75);

    /// <summary>Create: a bundle with slow hooks or mounts takes its time.</summary>
    internal static readonly TimeSpan Create = TimeSpan.FromSeconds(90);

    /// <summary>Exec.</summary>
    internal static readonly TimeSpan Exec = TimeSpan.FromSeconds(75);

    /// <summary>Delete: what runs is killed and waited for, streams are drained.</summary>
    internal static readonly TimeSpan Delete = TimeSpan.FromSeconds(100);

    /// <summary>Shutdown, and then the end of the process.</summary>
    internal static readonly TimeSpan Shutdown = TimeSpan.FromSeconds(5);

    /// <summary>The runtime, run by the supervisor to clean up after a shim that is gone.</summary>
    internal static readonly TimeSpan RuntimeDelete = TimeSpan.FromSeconds(20);

    /// <summary>From an answer until the events that it speaks of have arrived.</summary>
    internal static readonly TimeSpan EventsOfAnswer = TimeSpan.FromSeconds(5);

    /// <summary>What the API waits at start for shims to answer; who is slower is listed with his last known status.</summary>
    internal static readonly TimeSpan Recovery = TimeSpan.FromSeconds(2);

    /// <summary>No deadline but the caller's.</summary>
    internal static readonly TimeSpan? Caller;
}
