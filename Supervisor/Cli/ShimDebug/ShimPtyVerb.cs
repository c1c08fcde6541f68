using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim pty</c>.</summary>
internal sealed class ShimPtyVerb : ShimVerbBase
{
    private readonly Option<uint> _pid = Values.Pid("The host pid of a process with a terminal (0: the init process)", required: true);
    private readonly Argument<(ushort Width, ushort Height)> _size = Values.Size();

    internal ShimPtyVerb(GlobalOptions globals, CliConsole console)
        : base("pty", "Set the size of a process's terminal", globals, console)
    {
        Examples = [new("supervisor shim pty --socket shim.sock --pid 4711 120x40", "120 columns, 40 rows")];
        Options.Add(_pid);
        Arguments.Add(_size);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var (width, height) = invocation.Parse.GetRequiredValue(_size);
        var request = new PtyRequest { Pid = invocation.Parse.GetValue(_pid), Width = width, Height = height };
        await shim.PtyAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
