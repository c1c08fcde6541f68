using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim create</c>.</summary>
internal sealed class ShimCreateVerb : ShimVerbBase
{
    private readonly StreamOptions _streams = new();
    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Option<string> _bundle = new("--bundle", "-b") { Description = "A directory with config.json", HelpName = "DIR", Required = true };
    private readonly Option<string?> _runtime = new("--runtime") { Description = "The OCI runtime (default: the shim's own)", HelpName = "NAME|PATH" };

    internal ShimCreateVerb(GlobalOptions globals, CliConsole console)
        : base("create", "Create the shim's container from a bundle", globals, console)
    {
        Examples = [new("supervisor shim create --socket shim.sock --bundle /srv/bundles/web --stdout file:///tmp/web.log web", "for a shim that was started by hand with `shim serve`")];
        Arguments.Add(_id);
        Options.Add(_bundle);
        Options.Add(_runtime);
        _streams.AddTo(this);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new CreateRequest
        {
            Id = invocation.Parse.GetRequiredValue(_id),
            Bundle = Path.GetFullPath(invocation.Parse.GetRequiredValue(_bundle)),
            Runtime = invocation.Parse.GetValue(_runtime) ?? "",
            Terminal = invocation.Parse.GetValue(_streams.Terminal),
            Stdin = invocation.Parse.GetValue(_streams.Stdin) ?? "",
            Stdout = invocation.Parse.GetValue(_streams.Stdout) ?? "",
            Stderr = invocation.Parse.GetValue(_streams.Stderr) ?? "",
        };
        return Answer(invocation, await shim.CreateAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false));
    }
}
