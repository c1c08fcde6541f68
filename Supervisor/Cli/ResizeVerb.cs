using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>resize</c>: another size for a process's terminal.</summary>
internal sealed class ResizeVerb : Verb
{
    private readonly Option<uint> _pid = Values.Pid("The host pid of a process with a terminal (0: the init process)", required: true);
    private readonly Argument<(ushort Width, ushort Height)> _size = Values.Size();
    private readonly Argument<string> _id = Values.ContainerId();

    internal ResizeVerb(GlobalOptions globals, CliConsole console)
        : base("resize", "Set the size of a process's terminal", globals, console)
    {
        Examples = [new("supervisor resize --pid 4711 120x40 web", "the process sees SIGWINCH and a terminal of 120 columns and 40 rows")];
        Options.Add(_pid);
        Arguments.Add(_size);
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var (width, height) = invocation.Parse.GetRequiredValue(_size);
        var request = new ResizeConsoleRequest
        {
            ContainerId = invocation.Parse.GetRequiredValue(_id),
            Pid = invocation.Parse.GetValue(_pid),
            Width = width,
            Height = height,
        };
        await client.Supervisor.ResizeConsoleAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Success;
    }
}
