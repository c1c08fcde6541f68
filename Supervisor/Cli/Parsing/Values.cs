using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Supervisor.Cli.Foreground;

namespace Supervisor.Cli.Parsing;

/// <summary>Options and arguments that several verbs have, each with the check that its value makes sense.</summary>
internal static class Values
{
    /// <summary>The container that a verb is about.</summary>
    internal static Argument<string> ContainerId(string description = "The container's id") => new("ID") { Description = description, HelpName = "ID" };

    /// <summary>The command that ends a command line.</summary>
    internal static Argument<string[]> Command(string description, bool required) => new("COMMAND")
    {
        Description = description,
        HelpName = "COMMAND ARG",
        Arity = required ? ArgumentArity.OneOrMore : ArgumentArity.ZeroOrMore,
    };

    /// <summary>An option without a value. Its arity keeps the parser from taking a container named "true" for one.</summary>
    internal static Option<bool> Flag(string name, string? alias, string description) => new(name, alias is null ? [] : [alias])
    {
        Description = description,
        Arity = ArgumentArity.Zero,
    };

    /// <summary>A process of the container; 0 (the default) is its init.</summary>
    internal static Option<uint> Pid(string description, bool required = false) => new("--pid")
    {
        Description = description,
        HelpName = "PID",
        Required = required,
        CustomParser = result => Parsed(result, "a pid", text => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var pid) ? pid : (uint?)null),
    };

    /// <summary>The number of an event.</summary>
    internal static Option<ulong?> Since(string description) => new("--since")
    {
        Description = description,
        HelpName = "SEQ",
        CustomParser = result =>
            Parsed(result, "the number of an event", text => ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : (ulong?)null),
    };

    /// <summary>The keys that leave a terminal.</summary>
    internal static Option<DetachKeys> DetachKeys() => new("--detach-keys")
    {
        Description = $"The keys that leave the process alone with its terminal, such as ctrl-],x; '' for none (default: {Foreground.DetachKeys.Default})",
        HelpName = "KEYS",
        DefaultValueFactory = _ => Foreground.DetachKeys.TryParse(Foreground.DetachKeys.Default, out var keys) ? keys : Foreground.DetachKeys.None,
        CustomParser = result =>
        {
            var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
            if (!Foreground.DetachKeys.TryParse(text, out var keys))
            {
                result.AddError($"'{text}' are no keys: single characters or ctrl- with one of a-z @ [ \\ ] ^ _, with commas between them");
            }

            return keys;
        },
    };

    /// <summary>A signal by name or number.</summary>
    internal static Option<int> Signal() => new("--signal", "-s")
    {
        Description = "The signal: a name with or without SIG, RTMIN+N, or a number (default: TERM)",
        HelpName = "SIG",
        DefaultValueFactory = _ => 15,
        CustomParser = result => Parsed(result, "a signal", text => SignalNames.Parse(text)),
    };

    /// <summary>A terminal's size, WIDTHxHEIGHT.</summary>
    internal static Argument<(ushort Width, ushort Height)> Size() => new("WxH")
    {
        Description = "Width and height in characters, such as 120x40",
        HelpName = "WxH",
        CustomParser = result => Parsed(result, "a size such as 120x40", ParseSize),
    };

    /// <summary>"120x40" as a width and a height; null when it is anything else.</summary>
    internal static (ushort Width, ushort Height)? ParseSize(string text) =>
        text.Split('x') is [var width, var height]
        && ushort.TryParse(width, NumberStyles.None, CultureInfo.InvariantCulture, out var columns) && columns > 0
        && ushort.TryParse(height, NumberStyles.None, CultureInfo.InvariantCulture, out var rows) && rows > 0
            ? (columns, rows)
            : null;

    private static T Parsed<T>(ArgumentResult result, string what, Func<string, T?> parse)
        where T : struct
    {
        var text = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
        if (parse(text) is { } value)
        {
            return value;
        }

        result.AddError($"'{text}' is not {what}");
        return default;
    }
}
