using System.Net;

namespace Supervisor.Daemon;

/// <summary>The options with every default filled in and every value checked.</summary>
internal sealed record Settings
{
    /// <summary>The longest path that fits into a sockaddr_un, without its NUL.</summary>
    internal const int MaxSocketPath = 107;

    /// <summary>The root directory, absolute.</summary>
    internal required string Root { get; init; }

    /// <summary>The public socket, absolute.</summary>
    internal required string Socket { get; init; }

    /// <summary>The shim's executable, absolute.</summary>
    internal required string Shim { get; init; }

    /// <summary>The runtime's name or path.</summary>
    internal required string Runtime { get; init; }

    /// <summary>Where the runtime keeps its state, absolute.</summary>
    internal required string RuntimeRoot { get; init; }

    /// <summary>How long a deletion waits for output that nobody has read, in seconds.</summary>
    internal required double DrainSeconds { get; init; }

    /// <summary>Where the files of outputs may lie, absolute; none is anywhere, without following links.</summary>
    internal IReadOnlyList<string> LogDirectories { get; init; } = [];

    /// <summary>Where loggers may lie, absolute; none is the usual directories of programs.</summary>
    internal IReadOnlyList<string> LoggerDirectories { get; init; } = [];

    /// <summary>Whether shims are to log everything.</summary>
    internal bool Debug { get; init; }

    /// <summary>Where metrics are served; null is nowhere.</summary>
    internal EndPoint? Metrics { get; init; }

    /// <summary>When this supervisor started.</summary>
    internal DateTime StartedAt { get; } = DateTime.UtcNow;

    /// <summary>Checks the options, or refuses to start.</summary>
    internal static Settings From(SupervisorOptions options)
    {
        var root = Absolute(options.Root, "--root");
        var settings = new Settings
        {
            Root = root,
            Socket = Absolute(options.Socket ?? Path.Join(root, "supervisor.sock"), "--socket"),
            Shim = Absolute(options.Shim ?? Path.Join(Path.GetDirectoryName(Environment.ProcessPath), "shim"), "--shim"),
            Runtime = options.Runtime.Contains('/', StringComparison.Ordinal) ? Absolute(options.Runtime, "--runtime") : options.Runtime,
            RuntimeRoot = Absolute(options.RuntimeRoot ?? Path.Join(root, "runtime"), "--runtime-root"),
            DrainSeconds = options.DrainSeconds is >= 0 and <= 30 ? options.DrainSeconds : throw new StartRefusedException("--drain-timeout: must be 0 to 30 seconds"),
            LogDirectories = [.. options.LogDirectories.Select(directory => Directory(directory, "--log-dir"))],
            LoggerDirectories = [.. options.LoggerDirectories.Select(directory => Directory(directory, "--logger-dir"))],
            Debug = options.LogLevel <= LogLevel.Debug,
            Metrics = options.Metrics is { } address ? MetricsAddress.Parse(address) : null,
        };
        if (!File.Exists(settings.Shim))
        {
            throw new StartRefusedException($"the shim's executable {settings.Shim} is not there; say where with --shim");
        }

        if (settings.Runtime.Length == 0)
        {
            throw new StartRefusedException("--runtime: the name is empty");
        }

        if (System.Text.Encoding.UTF8.GetByteCount(settings.Socket) > MaxSocketPath)
        {
            throw new StartRefusedException($"the socket path {settings.Socket} is longer than {MaxSocketPath} bytes");
        }

        return settings;
    }

    private static string Directory(string path, string option)
    {
        var directory = Absolute(path, option);
        return System.IO.Directory.Exists(directory) ? directory : throw new StartRefusedException($"{option}: {directory} is not a directory");
    }

    private static string Absolute(string path, string option) => path.Length > 0 && !path.Contains('\0', StringComparison.Ordinal)
        ? Path.GetFullPath(path)
        : throw new StartRefusedException($"{option}: not a path");
}
