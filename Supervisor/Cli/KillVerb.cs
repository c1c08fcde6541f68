using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>kill</c>: a signal for one process of a container, or for all.</summary>
internal sealed class KillVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Option<int> _signal = Values.Signal();
    private readonly Option<uint> _pid = Values.Pid("The host pid of one process of the container (default: its init process)");
    private readonly Option<bool> _all = Values.Flag("--all", "-a", "Every process of the container");

    internal KillVerb(GlobalOptions globals, CliConsole console)
        : base("kill", "Send a signal to a container's init process, to one of its processes, or to all", globals, console)
    {
        Examples =
        [
            new("supervisor kill web", "SIGTERM to the init process"),
            new("supervisor kill -s KILL --all web", "SIGKILL to every process"),
            new("supervisor kill -s RTMIN+3 --pid 4711 web", "a real-time signal to one process, by its host pid"),
        ];
        Notes = ["The init process of a pid namespace ignores signals that it has no handler for; SIGKILL always works."];
        Arguments.Add(_id);
        Options.Add(_signal);
        Options.Add(_pid);
        Options.Add(_all);
        Validators.Add(result =>
        {
            if (result.GetValue(_all) && result.GetResult(_pid) is { Implicit: false })
            {
                result.AddError("--pid and --all exclude each other");
            }
        });
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var request = new KillRequest
        {
            ContainerId = invocation.Parse.GetRequiredValue(_id),
            Pid = invocation.Parse.GetValue(_pid),
            Signal = (uint)invocation.Parse.GetValue(_signal),
            All = invocation.Parse.GetValue(_all),
        };
        await client.Supervisor.KillAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
