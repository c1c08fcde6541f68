namespace Shim.Tests.Support;

/// <summary>How a test wants its supervisor.</summary>
public sealed record SupervisorSettings
{
    /// <summary>The OCI runtime: a name or a path. The supervisor's default when null.</summary>
    public string? Runtime { get; init; }

    /// <summary>Another shim than the one that was built.</summary>
    public string? Shim { get; init; }

    /// <summary>Where its processes have their pids; the test's own namespace when null.</summary>
    public PidNamespace? Pids { get; init; }

    /// <summary>Environment variables of the supervisor, on top of the test's own.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>More arguments of `serve`.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Where the root is to be, when it is to lie on a disk of the test's own.</summary>
    public string? Root { get; init; }
}
