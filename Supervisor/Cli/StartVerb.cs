using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Bundles;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>start</c>: lets a created container run.</summary>
internal sealed class StartVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();

    internal StartVerb(GlobalOptions globals, CliConsole console)
        : base("start", "Start a created container", globals, console)
    {
        Examples = [new("supervisor start web", "the init process of web, which was created before, runs")];
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var request = new StartContainerRequest { Id = invocation.Parse.GetRequiredValue(_id) };
        try
        {
            await client.Execution.StartContainerAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (!NewContainer.IsUnclear(e))
        {
            throw NewContainer.StartFailure(e);
        }

        return ExitCodes.Success;
    }
}
