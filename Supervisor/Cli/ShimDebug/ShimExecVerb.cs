using System.CommandLine;
using Containerd.Shim.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim exec</c>.</summary>
internal sealed class ShimExecVerb : ShimVerbBase
{
    private readonly StreamOptions _streams = new();
    private readonly Argument<string[]> _command = Values.Command("The command and its arguments, taken as they stand", required: true);
    private readonly ProcessOverrides _overrides = new();

    internal ShimExecVerb(GlobalOptions globals, CliConsole console)
        : base("exec", "Run one more process in the shim's container", globals, console)
    {
        Examples = [new("supervisor shim exec --socket shim.sock --stdout file:///tmp/out.log id", "the pid is in the answer; the output in the file")];
        TakesCommand = true;
        CommandPosition = 0;
        Arguments.Add(_command);
        _streams.AddTo(this);
        _overrides.AddTo(this);
    }

    protected override async Task<int> CallAsync(ShimContract.ShimClient shim, Invocation invocation, CancellationToken cancellationToken)
    {
        var request = new ExecRequest
        {
            Terminal = invocation.Parse.GetValue(_streams.Terminal),
            Stdin = invocation.Parse.GetValue(_streams.Stdin) ?? "",
            Stdout = invocation.Parse.GetValue(_streams.Stdout) ?? "",
            Stderr = invocation.Parse.GetValue(_streams.Stderr) ?? "",
            Cwd = invocation.Parse.GetValue(_overrides.WorkingDirectory) ?? "",
            User = _overrides.UserOf(invocation.Parse),
        };
        request.Args.Add(invocation.Parse.GetRequiredValue(_command));
        request.Env.Add(invocation.Parse.GetValue(_overrides.Environment) ?? []);
        return Answer(invocation, await shim.ExecAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false));
    }
}
