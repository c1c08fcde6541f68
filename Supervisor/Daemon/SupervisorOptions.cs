namespace Supervisor.Daemon;

/// <summary>How log lines are written to stderr.</summary>
internal enum LogFormat
{
    /// <summary>One line for a person.</summary>
    Text,

    /// <summary>One JSON object a line.</summary>
    Json,
}

/// <summary>What <c>supervisor serve</c> was asked for; null means the default that the property describes.</summary>
internal sealed record SupervisorOptions
{
    /// <summary>The directory that holds everything this supervisor remembers.</summary>
    public string Root { get; init; } = "/run/supervisor";

    /// <summary>The public socket; by default <c>supervisor.sock</c> under the root.</summary>
    public string? Socket { get; init; }

    /// <summary>The shim's executable; by default <c>shim</c> beside our own.</summary>
    public string? Shim { get; init; }

    /// <summary>The OCI runtime: a name to be found on the PATH, or a path.</summary>
    public string Runtime { get; init; } = "runc";

    /// <summary>Where the runtime keeps its state; by default <c>runtime</c> under the root.</summary>
    public string? RuntimeRoot { get; init; }

    /// <summary>How long the deletion of a process or container waits for output that nobody has read, in seconds.</summary>
    public double DrainSeconds { get; init; } = 5;

    /// <summary>Where the files of <c>file://</c> and <c>log://</c> outputs may lie; none is anywhere, without following links.</summary>
    public IReadOnlyList<string> LogDirectories { get; init; } = [];

    /// <summary>Where the programs of <c>binary://</c> outputs may lie; none is the usual directories of programs.</summary>
    public IReadOnlyList<string> LoggerDirectories { get; init; } = [];

    /// <summary>The least severe message that is logged.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    /// <summary>Text for people or JSON for programs.</summary>
    public LogFormat LogFormat { get; init; }

    /// <summary>Where Prometheus metrics are served: <c>127.0.0.1:PORT</c>, <c>[::1]:PORT</c> or <c>unix:PATH</c>; null serves none.</summary>
    public string? Metrics { get; init; }
}
