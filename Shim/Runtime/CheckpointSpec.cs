namespace Shim.Runtime;

/// <summary>How a container is written to disk by CRIU, through the runtime.</summary>
internal sealed record CheckpointSpec
{
    /// <summary>Directory for the images.</summary>
    internal required string ImagePath { get; init; }

    /// <summary>Directory for CRIU's logs and temporary files; empty for one of the shim's.</summary>
    internal string WorkPath { get; init; } = "";

    /// <summary>The container ends with it; otherwise it goes on running.</summary>
    internal bool Exit { get; init; }

    internal bool OpenTcp { get; init; }

    internal bool ExternalUnixSockets { get; init; }

    internal bool Terminal { get; init; }

    internal bool FileLocks { get; init; }

    internal IReadOnlyList<string> EmptyNamespaces { get; init; } = [];

    /// <summary>soft, full, strict or ignore; empty is CRIU's default.</summary>
    internal string CgroupsMode { get; init; } = "";
}

/// <summary>Where a container is read back from, instead of being created.</summary>
/// <param name="ImagePath">Directory with the images.</param>
/// <param name="WorkPath">Directory for CRIU's logs; empty for one of the shim's.</param>
internal sealed record RestoreSpec(string ImagePath, string WorkPath);
