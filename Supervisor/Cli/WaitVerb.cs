using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>wait</c>: until a process has ended; then its exit status, printed and as our own.</summary>
internal sealed class WaitVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Option<uint> _pid = Values.Pid("The host pid of a process that was started through us (default: the init process)");

    internal WaitVerb(GlobalOptions globals, CliConsole console)
        : base("wait", "Wait until a process has ended, print its exit status and exit with it", globals, console)
    {
        Examples =
        [
            new("supervisor wait web", "until the container has ended; at once if it has already"),
            new("supervisor wait --pid $(supervisor exec -d web /bin/job) web", "until that job has"),
        ];
        Arguments.Add(_id);
        Options.Add(_pid);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var id = invocation.Parse.GetRequiredValue(_id);

        // The wait itself is patient when nobody answers; that is for a supervisor that goes away meanwhile, not for one that is not there.
        await client.Execution.GetContainerAsync(new GetContainerRequest { Id = id }, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        var ended = await client.WaitAsync(id, invocation.Parse.GetValue(_pid), cancellationToken).ConfigureAwait(false);
        invocation.Print(ended, Describe.Number(ended.Exit.Status));
        return (int)ended.Exit.Status;
    }
}
