using System.CommandLine;
using Supervisor.Cli.Bundles;

namespace Supervisor.Cli.Parsing;

/// <summary>The options that run, create and exec share: how a process is started and who gets its streams.</summary>
internal sealed class ProcessOptions
{
    internal Option<bool> Detach { get; }

    internal Option<bool> Interactive { get; }

    internal Option<bool> Terminal { get; } = Values.Flag("--tty", "-t", "Give the process a terminal");

    internal Option<string[]> Environment { get; } = new("--env", "-e")
    {
        Description = "Set an environment variable; K alone takes our own value. May be repeated",
        HelpName = "K=V",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    internal Option<string?> WorkingDirectory { get; } = new("--cwd", "-w") { Description = "The directory to start in, inside the container", HelpName = "DIR" };

    internal Option<string?> User { get; } = new("--user", "-u")
    {
        Description = "Run as this user (and group): names from the container's /etc/passwd and /etc/group, or numbers",
        HelpName = "U[:G]",
    };

    internal ProcessOptions(string detachDescription, string interactiveDescription)
    {
        Detach = Values.Flag("--detach", "-d", detachDescription);
        Interactive = Values.Flag("--interactive", "-i", interactiveDescription);
    }

    internal void AddTo(Command command)
    {
        command.Options.Add(Detach);
        command.Options.Add(Interactive);
        command.Options.Add(Terminal);
        command.Options.Add(Environment);
        command.Options.Add(WorkingDirectory);
        command.Options.Add(User);
        Environment.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => token.Value.Length == 0 || token.Value[0] == '='))
            {
                result.AddError($"'{token.Value}' is not K=V");
            }
        });
        WorkingDirectory.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !token.Value.StartsWith('/'))
            {
                result.AddError($"--cwd '{token.Value}' is not an absolute path");
            }
        });
    }

    internal ProcessChoice ChoiceOf(ParseResult parse, IReadOnlyList<string> command) => new()
    {
        Command = command,
        Environment = [.. (parse.GetValue(Environment) ?? []).Select(WithValue).OfType<string>()],
        WorkingDirectory = parse.GetValue(WorkingDirectory),
        User = parse.GetValue(User),
        Terminal = parse.GetValue(Terminal),
    };

    // K alone, of a variable that we do not have, sets nothing.
    private static string? WithValue(string text) =>
        text.Contains('=', StringComparison.Ordinal) ? text
        : System.Environment.GetEnvironmentVariable(text) is { } value ? $"{text}={value}" : null;
}
