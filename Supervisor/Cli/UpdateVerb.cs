using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>update</c>: other resource limits for a running container.</summary>
internal sealed class UpdateVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Option<string> _bundle = new("--bundle", "-b")
    {
        Description = "A directory with a config.json; its linux.resources are applied, the rest of it is not looked at",
        HelpName = "DIR",
        Required = true,
    };

    internal UpdateVerb(GlobalOptions globals, CliConsole console)
        : base("update", "Change the resource limits of a running container", globals, console)
    {
        Examples = [new("supervisor update --bundle /srv/bundles/web-with-more-memory web", "applies linux.resources of that config.json")];
        Arguments.Add(_id);
        Options.Add(_bundle);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var request = new UpdateContainerRequest
        {
            ContainerId = invocation.Parse.GetRequiredValue(_id),
            BundlePath = Path.GetFullPath(invocation.Parse.GetRequiredValue(_bundle)),
        };
        await client.Execution.UpdateContainerAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
