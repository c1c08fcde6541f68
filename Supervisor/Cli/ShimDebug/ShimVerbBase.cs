using Containerd;
using Google.Protobuf;
using Supervisor.Cli.Output;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary>
/// A verb for one shim. Answers are the messages of containerd.shim.v1, as indented JSON for people and on one line for programs. What
/// is changed here is changed behind the supervisor's back; it learns of it from the shim's events.
/// </summary>
internal abstract class ShimVerbBase(string name, string description, GlobalOptions globals, CliConsole console) : Verb(name, description, globals, console)
{
    /// <summary>Makes the calls.</summary>
    protected abstract Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken);

    protected override string HintWhenUnreachable(string socket) => "does the shim still live? `supervisor inspect ID` shows a container's shim.pid and shim.socket";

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        // The supervisor's socket is no default here: its answer to a shim's call would only confuse.
        if (invocation.GivenSocket is not { Length: > 0 } socket)
        {
            throw new CliException("--socket PATH is needed: which shim?", "`supervisor inspect ID` shows a container's shim.socket");
        }

        using var channel = UnixChannel.Open(GlobalOptions.Checked(Path.GetFullPath(socket)));
        return await CallAsync(new ShimContract.ShimClient(channel), invocation, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Prints an answer.</summary>
    protected static int Answer(Invocation invocation, IMessage message)
    {
        invocation.Console.Out.WriteLine(invocation.WantsJson ? Json.Line(message) : Json.Pretty(message));
        return ExitCodes.Success;
    }
}
