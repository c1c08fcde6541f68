using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim pause</c>.</summary>
internal sealed class ShimPauseVerb : ShimVerbBase
{
    internal ShimPauseVerb(GlobalOptions globals, CliConsole console)
        : base("pause", "Freeze the container", globals, console)
    {
        Examples = [new("supervisor shim pause --socket /run/supervisor/c/web/shim.sock", "its processes get no CPU until `shim resume`")];
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        await shim.PauseAsync(new PauseRequest(), SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
