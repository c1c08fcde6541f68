namespace Shim.Bootstrap;

/// <summary>The options of `shim serve`.</summary>
internal sealed record ServeOptions
{
    /// <summary>Where to listen; null is shim.sock in the working directory.</summary>
    internal string? Socket { get; init; }

    /// <summary>A listening socket that the parent has bound.</summary>
    internal int? ListenFd { get; init; }

    /// <summary>For the journal and short-lived files; null is the working directory.</summary>
    internal string? StateDirectory { get; init; }

    /// <summary>Name or path of the OCI runtime.</summary>
    internal string Runtime { get; init; } = "runc";

    /// <summary>Where the runtime keeps its state; null is its own default.</summary>
    internal string? RuntimeRoot { get; init; }

    /// <summary>How long a deletion waits for output that nobody has read yet.</summary>
    internal TimeSpan DrainLimit { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Where files that callers name may lie; none is anywhere, without following links.</summary>
    internal IReadOnlyList<string> LogDirectories { get; init; } = [];

    /// <summary>Where loggers may lie; none is the usual directories of programs.</summary>
    internal IReadOnlyList<string> LoggerDirectories { get; init; } = [];

    internal bool Debug { get; init; }
}
