using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary>Prints the help of a verb: usage as it is really typed, every option with its meaning, and examples that work.</summary>
internal sealed class HelpText(CliConsole console) : SynchronousCommandLineAction
{
    private const int Width = 100;

    public override int Invoke(ParseResult parseResult)
    {
        Write(console.Out, parseResult.CommandResult.Command);
        return ExitCodes.Success;
    }

    /// <summary>Writes the help of <paramref name="command"/>.</summary>
    internal static void Write(TextWriter output, Command command)
    {
        var verb = command as Verb;
        output.WriteLine(command.Description);
        output.WriteLine();
        output.WriteLine($"Usage: {Usage(command)}");
        Section(output, "Verbs:", command.Subcommands.Where(sub => !sub.Hidden).Select(sub => (Names(sub), sub.Description ?? "")));
        Section(output, "Arguments:", command.Arguments.Select(argument => (argument.HelpName ?? argument.Name, argument.Description ?? "")));
        Section(output, "Options:", command.Options.Where(option => !option.Recursive).Select(Row));
        Section(output, "With every verb:", Lineage(command).SelectMany(ancestor => ancestor.Options).Where(option => option.Recursive).Select(Row));
        foreach (var note in verb?.Notes ?? Notes(command))
        {
            output.WriteLine();
            output.WriteLine(Wrapped(note, 0));
        }

        var examples = verb?.Examples ?? [];
        if (examples.Count > 0)
        {
            output.WriteLine();
            output.WriteLine("Examples:");
            foreach (var example in examples)
            {
                output.WriteLine($"  {example.Line}");
                output.WriteLine($"      {example.Meaning}");
            }
        }

        if (command.Subcommands.Count > 0)
        {
            output.WriteLine();
            output.WriteLine($"`{Path(command)} VERB --help` explains a verb.");
        }
    }

    private static string Usage(Command command)
    {
        var words = new List<string> { Path(command) };
        if (command.Subcommands.Count > 0)
        {
            words.Add("VERB");
        }

        // Required options are shown as they must be typed; the others hide behind one word.
        words.AddRange(command.Options.Where(option => option.Required).Select(option => $"{option.Name} {option.HelpName}"));
        words.Add("[OPTION...]");
        words.AddRange(command.Arguments.Select(argument =>
        {
            var name = argument.HelpName ?? argument.Name;
            var repeated = argument.Arity.MaximumNumberOfValues > 1 ? "..." : "";
            return argument.Arity.MinimumNumberOfValues == 0 ? $"[{name}{repeated}]" : $"{name}{repeated}";
        }));
        return string.Join(' ', words);
    }

    internal static string Path(Command command) => string.Join(' ', Lineage(command).Reverse().Select(ancestor => ancestor is RootCommand ? "supervisor" : ancestor.Name));

    private static IEnumerable<Command> Lineage(Command command)
    {
        for (var current = command; current is not null; current = current.Parents.OfType<Command>().FirstOrDefault())
        {
            yield return current;
        }
    }

    private static IEnumerable<string> Notes(Command command) => command is RootCommand ? CommandLine.Notes : [];

    private static string Names(Command command) => string.Join(", ", [command.Name, .. command.Aliases]);

    private static (string Name, string Meaning) Row(Option option)
    {
        // Short names first, as people know it: "-s, --signal SIG".
        var names = string.Join(", ", ((string[])[option.Name, .. option.Aliases]).Where(name => name[0] == '-' && name != "-?").OrderBy(name => name.Length));
        var value = option.Arity.MaximumNumberOfValues == 0 || option is HelpOption or VersionOption ? "" : $" {option.HelpName ?? option.Name.TrimStart('-').ToUpperInvariant()}";
        var description = option is HelpOption ? "Explain this verb" : option is VersionOption ? "Print the version of this program" : option.Description ?? "";
        return (names + value, option.Required ? $"{description} (required)" : description);
    }

    private static void Section(TextWriter output, string title, IEnumerable<(string Name, string Meaning)> rows)
    {
        var list = rows.ToList();
        if (list.Count == 0)
        {
            return;
        }

        output.WriteLine();
        output.WriteLine(title);
        var column = Math.Min(list.Max(row => row.Name.Length), 28) + 4;
        foreach (var (name, meaning) in list)
        {
            var head = $"  {name}";
            output.WriteLine(head.Length + 2 > column ? $"{head}\n{new string(' ', column)}{Wrapped(meaning, column)}" : head.PadRight(column) + Wrapped(meaning, column));
        }
    }

    /// <summary>The text in lines that end before the margin; all but the first begin at <paramref name="column"/>.</summary>
    private static string Wrapped(string text, int column)
    {
        var lines = new List<string>();
        var line = "";
        foreach (var word in text.Split(' '))
        {
            if (line.Length > 0 && column + line.Length + 1 + word.Length > Width)
            {
                lines.Add(line);
                line = "";
            }

            line += line.Length == 0 ? word : $" {word}";
        }

        lines.Add(line);
        return string.Join("\n" + new string(' ', column), lines);
    }
}
