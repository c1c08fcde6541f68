using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim kill</c>.</summary>
internal sealed class ShimKillVerb : ShimVerbBase
{
    private readonly Option<int> _signal = Values.Signal();
    private readonly Option<uint> _pid = Values.Pid("The host pid of one process (default: the init process)");
    private readonly Option<bool> _all = Values.Flag("--all", "-a", "Every process of the container");

    internal ShimKillVerb(GlobalOptions globals, CliConsole console)
        : base("kill", "Send a signal to a process, or to all of the container", globals, console)
    {
        Examples = [new("supervisor shim kill --socket shim.sock -s KILL", "SIGKILL to the init process")];
        Options.Add(_signal);
        Options.Add(_pid);
        Options.Add(_all);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new KillRequest
        {
            Pid = invocation.Parse.GetValue(_pid),
            Signal = (uint)invocation.Parse.GetValue(_signal),
            All = invocation.Parse.GetValue(_all),
        };
        await shim.KillAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
