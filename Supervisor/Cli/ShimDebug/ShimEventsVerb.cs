using System.CommandLine;
using Containerd.Shim.V1;
using Grpc.Core;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim events</c>.</summary>
internal sealed class ShimEventsVerb : ShimVerbBase
{
    private readonly Option<ulong?> _since = Values.Since("Begin after the event with this number (default: 0, all)");
    private readonly Option<bool> _noFollow = Values.Flag("--no-follow", null, "Stop after the last event that is known now");

    internal ShimEventsVerb(GlobalOptions globals, CliConsole console)
        : base("events", "Follow the shim's events, one JSON object a line", globals, console)
    {
        Examples = [new("supervisor shim events --socket shim.sock --no-follow", "all that the journal has")];
        Options.Add(_since);
        Options.Add(_noFollow);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new EventsRequest { AfterSequence = invocation.Parse.GetValue(_since) ?? 0, NoFollow = invocation.Parse.GetValue(_noFollow) };
        using var call = shim.Events(request, SupervisorClient.Follow(cancellationToken));
        await foreach (var one in call.ResponseStream.ReadAllAsync(cancellationToken).ConfigureAwait(false))
        {
            invocation.Console.Out.WriteLine(Json.Line(one));
        }

        return ExitCodes.Success;
    }
}
