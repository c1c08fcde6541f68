using System.CommandLine;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>ps</c>: the processes of a container.</summary>
internal sealed class PsVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();

    internal PsVerb(GlobalOptions globals, CliConsole console)
        : base("ps", "List the processes of a container, by host pid", globals, console)
    {
        Examples = [new("supervisor ps web", "those that were started through us, and every other pid of the container")];
        Notes = ["An exec that was started with -d and has ended stays in the list, with its exit status, until the container is deleted."];
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var container = await client.InspectAsync(invocation.Parse.GetRequiredValue(_id), processes: true, cancellationToken).ConfigureAwait(false);
        if (invocation.WantsJson)
        {
            invocation.Console.Out.WriteLine(Json.Array(container.Processes));
            return ExitCodes.Success;
        }

        var table = Tables.WithColumns(">PID", "USER", "STATUS", "EXIT", "COMMAND");
        foreach (var process in container.Processes)
        {
            table.Row(
                Describe.Number(process.Pid),
                Describe.User(process.User),
                Describe.Status(process.Status),
                process.Exit is { } exit ? Describe.Exit(exit) : "-",
                Tables.CommandLine(process.Args));
        }

        invocation.Console.Print(table);
        return ExitCodes.Success;
    }
}
