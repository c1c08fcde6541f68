using System.CommandLine;
using Google.Protobuf;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary>One run of one verb: what was typed, and where to print.</summary>
internal sealed class Invocation(ParseResult parse, GlobalOptions globals, CliConsole console)
{
    internal ParseResult Parse => parse;

    internal CliConsole Console => console;

    /// <summary>The socket to talk to.</summary>
    internal string Socket { get; } = globals.SocketOf(parse);

    /// <summary>The socket that was given on the command line itself, if any.</summary>
    internal string? GivenSocket { get; } = parse.GetValue(globals.Socket);

    /// <summary>Whether a program reads what we print.</summary>
    internal bool WantsJson { get; } = parse.GetValue(globals.Output) == OutputFormat.Json;

    /// <summary>Whether --output was given at all.</summary>
    internal bool OutputGiven { get; } = parse.GetResult(globals.Output) is { Implicit: false };

    /// <summary>A client of the supervisor. Nothing is connected before the first call.</summary>
    internal SupervisorClient Connect() => new(GlobalOptions.Checked(Socket));

    /// <summary>Prints one message for a program, or <paramref name="text"/> for a person.</summary>
    internal void Print(IMessage message, string text) => console.Out.WriteLine(WantsJson ? Json.Line(message) : text);
}
