using System.CommandLine;
using Supervisor.Cli.Output;
using Supervisor.Daemon;

namespace Supervisor.Cli;

/// <summary><c>serve</c>: the daemon.</summary>
internal sealed class ServeVerb : Verb
{
    private static readonly (string Name, LogLevel Level)[] s_levels =
    [
        ("trace", LogLevel.Trace), ("debug", LogLevel.Debug), ("information", LogLevel.Information), ("info", LogLevel.Information),
        ("warning", LogLevel.Warning), ("error", LogLevel.Error), ("critical", LogLevel.Critical), ("none", LogLevel.None),
    ];

    private static readonly (string Name, LogFormat Format)[] s_formats = [("text", LogFormat.Text), ("json", LogFormat.Json)];

    private static readonly SupervisorOptions s_defaults = new();

    private readonly Option<string?> _root = new("--root") { Description = $"The directory for everything that is remembered (default: {s_defaults.Root})", HelpName = "DIR" };
    private readonly Option<string?> _shim = new("--shim") { Description = "The shim's executable (default: shim beside this program)", HelpName = "PATH" };
    private readonly Option<string?> _runtime = new("--runtime") { Description = $"The OCI runtime (default: {s_defaults.Runtime})", HelpName = "NAME|PATH" };
    private readonly Option<string?> _runtimeRoot = new("--runtime-root") { Description = "Where the runtime keeps its state (default: a directory under the root)", HelpName = "DIR" };
    private readonly Option<double> _drain = new("--drain-timeout") { Description = $"How long a deletion waits for output that nobody has read (default: {s_defaults.DrainSeconds})", HelpName = "SECONDS", DefaultValueFactory = _ => s_defaults.DrainSeconds };
    private readonly Option<string[]> _logDirectories = Directories("--log-dir", "Files of file:// and log:// outputs must lie in here (default: anywhere, and no symbolic link is followed). May be repeated");
    private readonly Option<string[]> _loggerDirectories = Directories("--logger-dir", "Programs of binary:// outputs must lie in here (default: the usual directories of programs). May be repeated");
    private readonly Option<LogLevel> _logLevel = Choice("--log-level", s_levels, "trace|debug|info|warning|error|critical|none", "What to log (default: info)", s_defaults.LogLevel);
    private readonly Option<LogFormat> _logFormat = Choice("--log-format", s_formats, "text|json", "How to log, to stderr (default: text)", s_defaults.LogFormat);
    private readonly Option<string?> _metrics = new("--metrics") { Description = "Serve Prometheus metrics at 127.0.0.1:PORT, [::1]:PORT or unix:PATH (default: nowhere)", HelpName = "ADDRESS" };

    internal ServeVerb(GlobalOptions globals, CliConsole console)
        : base("serve", "Run the daemon", globals, console)
    {
        Examples =
        [
            new("supervisor serve", "serve /run/supervisor/supervisor.sock, log to stderr"),
            new("supervisor serve --root /tmp/sv --log-level debug", "a second one, with everything of its own"),
        ];
        Notes =
        [
            "SIGTERM and SIGINT stop the daemon and leave the containers running; the next one finds them again. The socket is <root>/supervisor.sock "
                + "unless --socket says otherwise; SUPERVISOR_SOCKET is for clients and does not count here. Needs root.",
        ];
        foreach (var option in (Option[])[_root, _shim, _runtime, _runtimeRoot, _drain, _logDirectories, _loggerDirectories, _logLevel, _logFormat, _metrics])
        {
            Options.Add(option);
        }
    }

    /// <summary>What was typed, as the daemon wants it.</summary>
    internal SupervisorOptions OptionsOf(ParseResult parse, string? socket) => new()
    {
        Root = parse.GetValue(_root) is { } root ? Path.GetFullPath(root) : s_defaults.Root,
        Socket = socket is null ? null : Path.GetFullPath(socket),
        Shim = parse.GetValue(_shim) is { } shim ? Path.GetFullPath(shim) : null,
        Runtime = parse.GetValue(_runtime) ?? s_defaults.Runtime,
        RuntimeRoot = parse.GetValue(_runtimeRoot) is { } runtimeRoot ? Path.GetFullPath(runtimeRoot) : null,
        DrainSeconds = parse.GetValue(_drain),
        LogDirectories = [.. (parse.GetValue(_logDirectories) ?? []).Select(Path.GetFullPath)],
        LoggerDirectories = [.. (parse.GetValue(_loggerDirectories) ?? []).Select(Path.GetFullPath)],
        LogLevel = parse.GetValue(_logLevel),
        LogFormat = parse.GetValue(_logFormat),
        Metrics = parse.GetValue(_metrics),
    };

    protected override Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken) =>
        DaemonHost.RunAsync(OptionsOf(invocation.Parse, invocation.GivenSocket));

    private static Option<string[]> Directories(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "DIR",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    private static Option<T> Choice<T>(string name, (string Name, T Value)[] choices, string names, string description, T defaultValue) => new(name)
    {
        Description = description,
        HelpName = names,
        DefaultValueFactory = _ => defaultValue,
        CustomParser = result =>
        {
            var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
            foreach (var choice in choices)
            {
                if (choice.Name.Equals(text, StringComparison.OrdinalIgnoreCase))
                {
                    return choice.Value;
                }
            }

            result.AddError($"{name} is one of {names.Replace("|", ", ", StringComparison.Ordinal)}");
            return defaultValue;
        },
    };
}
