namespace Shim.Runtime;

/// <summary>The verbs of an OCI runtime that this shim uses. List, wait and signals never need one, and state only when
/// a container is taken over that another shim has made.</summary>
internal enum RuntimeVerb
{
    Create,
    Start,
    Exec,
    Pause,
    Resume,
    Update,
    Delete,
    State,
    Checkpoint,
    Restore,
    Features,
}

/// <summary>How long each verb may take before it is killed. Generous: a loaded machine is slow, and a deadline here undoes work.</summary>
internal static class RuntimeDeadlines
{
    /// <summary>The limit for <paramref name="verb"/>.</summary>
    internal static TimeSpan For(RuntimeVerb verb) => verb switch
    {
        RuntimeVerb.Create => TimeSpan.FromSeconds(60),

        // All of a container's memory goes to disk or comes from there, and a dump that is killed half-way may take the container along.
        RuntimeVerb.Restore or RuntimeVerb.Checkpoint => TimeSpan.FromMinutes(10),
        RuntimeVerb.Exec => TimeSpan.FromSeconds(30),
        RuntimeVerb.Start or RuntimeVerb.Delete => TimeSpan.FromSeconds(20),
        _ => TimeSpan.FromSeconds(10),
    };

    /// <summary>How long a killed runtime may take to be collected: an uninterruptible sleep in the kernel can hold it.</summary>
    internal static readonly TimeSpan AfterKill = TimeSpan.FromSeconds(5);
}
