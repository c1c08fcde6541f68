using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim start</c>.</summary>
internal sealed class ShimStartVerb : ShimVerbBase
{
    internal ShimStartVerb(GlobalOptions globals, CliConsole console)
        : base("start", "Let the created init process run", globals, console)
    {
        Examples = [new("supervisor shim start --socket /run/supervisor/c/web/shim.sock", "the init process, which was created before, runs")];
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        await shim.StartAsync(new StartRequest(), SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
