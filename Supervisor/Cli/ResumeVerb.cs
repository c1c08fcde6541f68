using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>resume</c>: lets a paused container go on.</summary>
internal sealed class ResumeVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();

    internal ResumeVerb(GlobalOptions globals, CliConsole console)
        : base("resume", "Let a paused container go on", globals, console)
    {
        Examples = [new("supervisor resume web", "its processes go on where they were")];
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var request = new ResumeContainerRequest { Id = invocation.Parse.GetRequiredValue(_id) };
        await client.Execution.ResumeContainerAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
