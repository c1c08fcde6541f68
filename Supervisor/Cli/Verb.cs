using System.CommandLine;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary>One line that a person could type, and what it does.</summary>
internal sealed record Example(string Line, string Meaning);

/// <summary>One verb of the command line: its options, its help, and what it does.</summary>
internal abstract class Verb : Command
{
    private readonly GlobalOptions _globals;

    protected Verb(string name, string description, GlobalOptions globals, CliConsole console)
        : base(name, description)
    {
        _globals = globals;
        SetAction((parse, cancellationToken) => RunGuardedAsync(parse, console, cancellationToken));
    }

    /// <summary>Shown at the end of the verb's help.</summary>
    internal IReadOnlyList<Example> Examples { get; init; } = [];

    /// <summary>What a person should know beyond the options; a paragraph each.</summary>
    internal IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>
    /// Whether everything after the first argument is a command for the container, taken as it stands even where it looks like an option.
    /// </summary>
    internal bool TakesCommand { get; init; }

    /// <summary>The position of the command's first word among the arguments.</summary>
    internal int CommandPosition { get; init; } = 1;

    /// <summary>What to do when nobody listens on the socket.</summary>
    protected virtual string HintWhenUnreachable(string socket) => GlobalOptions.HowToServe(socket);

    /// <summary>Reports a failure; null when it is a bug of ours that should be seen whole.</summary>
    protected int? Report(Exception failure, Invocation invocation, string? what = null) =>
        Failures.Report(failure, what ?? FullName(), invocation.Socket, HintWhenUnreachable(invocation.Socket), invocation.Console);

    /// <summary>The verb's exit code.</summary>
    protected abstract Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken);

    private async Task<int> RunGuardedAsync(ParseResult parse, CliConsole console, CancellationToken cancellationToken)
    {
        var invocation = new Invocation(parse, _globals, console);
        try
        {
            return await RunAsync(invocation, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (Report(failure, invocation) is { } exitCode)
        {
            return exitCode;
        }
    }

    private string FullName() =>
        Parents.OfType<Command>().FirstOrDefault(parent => parent is not RootCommand) is { } parent ? $"{parent.Name} {Name}" : Name;
}
