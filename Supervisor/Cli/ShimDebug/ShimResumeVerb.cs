using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim resume</c>.</summary>
internal sealed class ShimResumeVerb : ShimVerbBase
{
    internal ShimResumeVerb(GlobalOptions globals, CliConsole console)
        : base("resume", "Let the paused container go on", globals, console)
    {
        Examples = [new("supervisor shim resume --socket /run/supervisor/c/web/shim.sock", "its processes go on")];
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        await shim.ResumeAsync(new ResumeRequest(), SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
