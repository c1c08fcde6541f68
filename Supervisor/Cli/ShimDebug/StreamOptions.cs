using System.CommandLine;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli.ShimDebug;

/// <summary>Where a process's streams go, given to the shim as they stand.</summary>
internal sealed class StreamOptions
{
    internal Option<bool> Terminal { get; } = Values.Flag("--tty", "-t", "Give the process a terminal");

    internal Option<string?> Stdin { get; } = new("--stdin") { Description = "A FIFO, or an address the shim knows (default: nothing to read)", HelpName = "ADDRESS" };

    internal Option<string?> Stdout { get; } = new("--stdout") { Description = "A FIFO, or an address such as file:///tmp/out.log (default: dropped)", HelpName = "ADDRESS" };

    internal Option<string?> Stderr { get; } = new("--stderr") { Description = "As --stdout", HelpName = "ADDRESS" };

    internal void AddTo(Command command)
    {
        command.Options.Add(Terminal);
        command.Options.Add(Stdin);
        command.Options.Add(Stdout);
        command.Options.Add(Stderr);
    }
}
