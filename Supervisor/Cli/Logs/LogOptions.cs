using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli.Logs;

/// <summary>What may be asked of a container's output.</summary>
internal sealed class LogOptions
{
    private readonly Option<bool> _follow = Values.Flag("--follow", "-f", "Go on with what is written from now on, until the container has ended");

    private const long All = -1;

    private readonly Option<long> _tail = new("--tail", "-n")
    {
        Description = "Only the last N lines, of both outputs together (default: all)",
        HelpName = "N|all",
        DefaultValueFactory = _ => All,
        CustomParser = result => Parsed(result, "a number of lines, or all", text =>
            text == "all" ? All : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var lines) ? lines : null) ?? All,
    };

    private readonly Option<long?> _since = Bound("--since", "Only lines that began then or later");
    private readonly Option<long?> _until = Bound("--until", "Only lines that began then or earlier");
    private readonly Option<bool> _timestamps = Values.Flag("--timestamps", "-t", "Begin each line with its time");

    internal void AddTo(Command command)
    {
        command.Options.Add(_follow);
        command.Options.Add(_tail);
        command.Options.Add(_since);
        command.Options.Add(_until);
        command.Options.Add(_timestamps);
    }

    internal LogChoice ChoiceOf(ParseResult parse) => new(parse.GetValue(_follow), parse.GetValue(_tail) is var lines and not All ? lines : null, parse.GetValue(_until));

    /// <summary>Whether anything was asked that needs the times of lines.</summary>
    internal bool NeedsTimes(ParseResult parse) => parse.GetValue(_timestamps) || parse.GetValue(_since) is not null || parse.GetValue(_until) is not null;

    /// <summary>Whether anything was asked at all.</summary>
    internal bool IsGiven(SymbolResult result) =>
        ((Option[])[_follow, _tail, _since, _until, _timestamps]).Any(option => result.GetResult(option) is { Implicit: false });

    internal LogPrinter PrinterOf(ParseResult parse, Stream stdout, Stream stderr, bool sameTarget) =>
        new(stdout, stderr, sameTarget, parse.GetValue(_timestamps), parse.GetValue(_since), parse.GetValue(_until));

    private static Option<long?> Bound(string name, string description) => new(name)
    {
        Description = $"{description}: 2026-11-24T10:00:00Z, 2026-11-24, unix seconds, or how long ago: 10m, 1h30m",
        HelpName = "TIME",
        CustomParser = result => Parsed(result, "a time (2026-11-24T10:00:00Z, 2026-11-24, unix seconds, or 10m for ten minutes ago)", text => LogTime.ParseBound(text, DateTime.UtcNow)),
    };

    private static long? Parsed(ArgumentResult result, string what, Func<string, long?> parse)
    {
        var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
        if (parse(text) is { } value)
        {
            return value;
        }

        result.AddError($"'{text}' is not {what}");
        return null;
    }
}
