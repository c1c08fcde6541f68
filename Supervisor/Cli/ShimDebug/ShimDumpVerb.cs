using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim dump</c>.</summary>
internal sealed class ShimDumpVerb : ShimVerbBase
{
    internal ShimDumpVerb(GlobalOptions globals, CliConsole console)
        : base("dump", "Show the inside: what is under way, what is open, what is queued", globals, console)
    {
        Examples = [new("supervisor shim dump --socket /run/supervisor/c/web/shim.sock", "where to look first when a shim seems stuck")];
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        return Answer(invocation, await shim.DumpAsync(new DumpRequest(), SupervisorClient.Read(cancellationToken)).ConfigureAwait(false));
    }
}
