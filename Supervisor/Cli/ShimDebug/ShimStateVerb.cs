using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim state</c>.</summary>
internal sealed class ShimStateVerb : ShimVerbBase
{
    internal ShimStateVerb(GlobalOptions globals, CliConsole console)
        : base("state", "Show the container and the processes that were started through this shim", globals, console)
    {
        Examples = [new("supervisor shim state --socket /run/supervisor/c/web/shim.sock", "never waits for a busy container")];
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        return Answer(invocation, await shim.StateAsync(new StateRequest(), SupervisorClient.Read(cancellationToken)).ConfigureAwait(false));
    }
}
