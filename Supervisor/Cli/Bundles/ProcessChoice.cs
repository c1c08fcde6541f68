namespace Supervisor.Cli.Bundles;

/// <summary>What a person asked of a process; null and empty mean "as the bundle says".</summary>
internal sealed record ProcessChoice
{
    internal IReadOnlyList<string> Command { get; init; } = [];

    /// <summary>NAME=VALUE each.</summary>
    internal IReadOnlyList<string> Environment { get; init; } = [];

    internal string? WorkingDirectory { get; init; }

    /// <summary>USER or USER:GROUP, names or numbers.</summary>
    internal string? User { get; init; }

    internal bool Terminal { get; init; }

    /// <summary>Whether anything differs from what a bundle's config.json says by itself.</summary>
    internal bool ChangesBundle => Command.Count > 0 || Environment.Count > 0 || WorkingDirectory is not null || User is not null;
}
