using System.CommandLine;
using System.CommandLine.Help;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using Supervisor.Cli.ShimDebug;

namespace Supervisor.Cli;

/// <summary>The command line: which verbs there are, and how a line becomes a call of one.</summary>
internal static class CommandLine
{
    /// <summary>What the help of the program as a whole says beyond its verbs.</summary>
    internal static IReadOnlyList<string> Notes { get; } =
    [
        "Begin with `supervisor serve` (as root) in one terminal and `supervisor run --rm --rootfs DIR hello echo hi` in another.",
        "Exit codes: run, exec and wait give the process's own (128 + N after signal N); 125 is an error of ours or of the command line, "
            + "126 a command that cannot be executed, 127 one that does not exist.",
    ];

    /// <summary>Parses and runs one line; returns the exit code.</summary>
    internal static async Task<int> RunAsync(string[] words, CliConsole console)
    {
        var root = Build(console);
        var parse = Parse(root, words);
        if (parse.Errors.Count > 0 && parse.Action is not HelpText)
        {
            var verb = parse.CommandResult.Command is RootCommand ? "" : $"{parse.CommandResult.Command.Name}: ";
            console.Error.WriteLine($"supervisor: {verb}{Sentence(parse.Errors[0].Message)}");
            console.Error.WriteLine($"hint: `{HelpText.Path(parse.CommandResult.Command)} --help` explains it");
            return ExitCodes.Failure;
        }

        // Signals keep their meaning: a verb that has something to put in order catches them itself.
        return await parse.InvokeAsync(new InvocationConfiguration
        {
            Output = console.Out,
            Error = console.Error,
            ProcessTerminationTimeout = null,
            EnableDefaultExceptionHandler = false,
        }).ConfigureAwait(false);
    }

    /// <summary>Parses one line; what follows a container's name is its command, whatever it looks like.</summary>
    internal static ParseResult Parse(RootCommand root, string[] words) =>
        root.Parse(CommandSeparator.Insert(root, words), new ParserConfiguration { ResponseFileTokenReplacer = null });

    /// <summary>The program with all its verbs.</summary>
    internal static RootCommand Build(CliConsole console)
    {
        var globals = new GlobalOptions();
        var root = new RootCommand("Runs containers: one supervisor, one shim for each container.")
        {
            new ServeVerb(globals, console),
            new RunVerb(globals, console),
            new CreateVerb(globals, console),
            new StartVerb(globals, console),
            new ExecVerb(globals, console),
            new KillVerb(globals, console),
            new PauseVerb(globals, console),
            new ResumeVerb(globals, console),
            new UpdateVerb(globals, console),
            new DeleteVerb(globals, console),
            new ListVerb(globals, console),
            new InspectVerb(globals, console),
            new PsVerb(globals, console),
            new LogsVerb(globals, console),
            new AttachVerb(globals, console),
            new WaitVerb(globals, console),
            new EventsVerb(globals, console),
            new StatsVerb(globals, console),
            new ResizeVerb(globals, console),
            new InfoVerb(globals, console),
            new VersionVerb(globals, console),
            ShimVerbs.Build(globals, console),
        };
        root.Options.Add(globals.Socket);
        root.Options.Add(globals.Output);
        root.Directives.Clear();
        root.Options.OfType<HelpOption>().Single().Action = new HelpText(console);
        root.Options.OfType<VersionOption>().Single().Action = new VersionText(console);
        root.SetAction(_ =>
        {
            // No verb at all: the help, but not as an answer.
            HelpText.Write(console.Error, root);
            return ExitCodes.Failure;
        });
        return root;
    }

    private static string Sentence(string message) =>
        message.Length > 1 && char.IsLower(message[1]) ? char.ToLowerInvariant(message[0]) + message[1..].TrimEnd('.') : message.TrimEnd('.');
}
