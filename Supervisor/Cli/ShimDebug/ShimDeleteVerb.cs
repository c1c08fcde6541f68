using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim delete</c>.</summary>
internal sealed class ShimDeleteVerb : ShimVerbBase
{
    private readonly Option<uint> _pid = Values.Pid("The host pid of an ended exec process (default: the container)");

    internal ShimDeleteVerb(GlobalOptions globals, CliConsole console)
        : base("delete", "Forget an ended exec process or, without --pid, kill and remove the container", globals, console)
    {
        Examples = [new("supervisor shim delete --socket /run/supervisor/c/web/shim.sock", "kills what still runs; then the shim ends")];
        Options.Add(_pid);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new DeleteRequest { Pid = invocation.Parse.GetValue(_pid) };
        return Answer(invocation, await shim.DeleteAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false));
    }
}
