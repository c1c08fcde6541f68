using Containerd.V1;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary><c>info</c>: the supervisor itself.</summary>
internal sealed class InfoVerb : Verb
{
    internal InfoVerb(GlobalOptions globals, CliConsole console)
        : base("info", "Show the supervisor itself: version, paths, runtime, how many containers, which events are kept", globals, console) =>
        Examples = [new("supervisor info", "is it there, and where does it keep things?")];

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var info = await client.Supervisor.InfoAsync(new InfoRequest(), SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        if (invocation.WantsJson)
        {
            invocation.Console.Out.WriteLine(Json.Line(info));
            return ExitCodes.Success;
        }

        Tables.Print(invocation.Console,
        [
            ("version", info.Version),
            ("pid", Describe.Number(info.Pid)),
            ("up for", Describe.Age(info.StartedAt)),
            ("root", info.Root),
            ("socket", info.Socket),
            ("shim", info.Shim),
            ("runtime", info.Runtime),
            ("runtime root", info.RuntimeRoot),
            ("containers", $"{info.Containers} ({info.Running} running, {info.Paused} paused, {info.Created} created, {info.Stopped} stopped)"),
            ("events", info.NewestSequence == 0 ? "none yet" : $"{info.OldestSequence} to {info.NewestSequence}"),
            .. info.Degraded.Select(sentence => ("degraded", sentence)),
        ]);
        return ExitCodes.Success;
    }
}
