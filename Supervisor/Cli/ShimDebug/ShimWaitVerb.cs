using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim wait</c>.</summary>
internal sealed class ShimWaitVerb : ShimVerbBase
{
    private readonly Option<uint> _pid = Values.Pid("The host pid of a process (default: the init process)");

    internal ShimWaitVerb(GlobalOptions globals, CliConsole console)
        : base("wait", "Wait until a process has ended, and show how", globals, console)
    {
        Examples = [new("supervisor shim wait --socket /run/supervisor/c/web/shim.sock", "answers when the init process has ended")];
        Options.Add(_pid);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new WaitRequest { Pid = invocation.Parse.GetValue(_pid) };
        return Answer(invocation, await shim.WaitAsync(request, SupervisorClient.Follow(cancellationToken)).ConfigureAwait(false));
    }
}
