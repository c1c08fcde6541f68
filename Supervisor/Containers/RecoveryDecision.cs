namespace Supervisor.Containers;

/// <summary>What to do with a container that a former supervisor left.</summary>
internal enum RecoveryDecision
{
    /// <summary>Its creation was under way, or only files of it are left: no client counts on it. Remove everything.</summary>
    CleanUp,

    /// <summary>Its shim lives: take it over.</summary>
    Reconnect,

    /// <summary>Its shim is gone: publish what it wrote down, kill what still runs, keep it listed as stopped.</summary>
    SettleLoss,

    /// <summary>Its deletion was under way: go on with it, with its shim or without.</summary>
    Delete,
}

/// <summary>The decision, as a pure function of what is on disk and in the process table.</summary>
internal static class RecoveryPlan
{
    /// <param name="hasRecord">Whether container.json could be read.</param>
    /// <param name="complete">Whether its creation was completed.</param>
    /// <param name="deleting">Whether somebody wanted it gone.</param>
    /// <param name="shimLives">Whether the very process that was its shim still runs.</param>
    /// <param name="tracked">Whether the event log has it created and not deleted.</param>
    internal static RecoveryDecision Decide(bool hasRecord, bool complete, bool deleting, bool shimLives, bool tracked) =>
        (hasRecord, complete, deleting, shimLives, tracked) switch
        {
            (false, _, _, _, _) => RecoveryDecision.CleanUp,
            (_, false, _, _, _) => RecoveryDecision.CleanUp,
            // Its DELETED event is out: only the files were not removed any more.
            (_, _, _, false, false) => RecoveryDecision.CleanUp,
            (_, _, true, _, _) => RecoveryDecision.Delete,
            // The living shim knows better than the event log whether it still has a container.
            (_, _, _, true, _) => RecoveryDecision.Reconnect,
            (_, _, _, false, true) => RecoveryDecision.SettleLoss,
        };
}
