using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>pause</c>: stops every process of a container where it is.</summary>
internal sealed class PauseVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();

    internal PauseVerb(GlobalOptions globals, CliConsole console)
        : base("pause", "Freeze every process of a container", globals, console)
    {
        Examples = [new("supervisor pause web", "its processes get no CPU until `supervisor resume web`; KILL still works")];
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var request = new PauseContainerRequest { Id = invocation.Parse.GetRequiredValue(_id) };
        await client.Execution.PauseContainerAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
