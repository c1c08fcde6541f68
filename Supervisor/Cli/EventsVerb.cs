using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>events</c>: what happens, or has happened, one line each.</summary>
internal sealed class EventsVerb : Verb
{
    private readonly Option<ulong?> _since = Values.Since("Begin after the event with this number; 0 is all that are kept (default: what happens from now on)");
    private readonly Option<string[]> _ids = new("--id") { Description = "Only events of this container. May be repeated", HelpName = "ID", AllowMultipleArgumentsPerToken = false };
    private readonly Option<bool> _noFollow = Values.Flag("--no-follow", null, "Stop after the last event that is known now; without --since: print all that are kept");

    internal EventsVerb(GlobalOptions globals, CliConsole console)
        : base("events", "Follow what happens to containers and their processes", globals, console)
    {
        Examples =
        [
            new("supervisor events", "from now on, until you interrupt it"),
            new("supervisor events --since 0 --no-follow --id web", "all that is remembered of one container"),
            new("supervisor events --since 1041 --output json", "go on where a program stopped; no event is missed or seen twice"),
        ];
        Notes = ["Events are numbered without gaps, also across restarts of the supervisor. Order, per process: created or exec-added, started, exited, deleted."];
        Options.Add(_since);
        Options.Add(_ids);
        Options.Add(_noFollow);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        var since = invocation.Parse.GetValue(_since);
        var noFollow = invocation.Parse.GetValue(_noFollow);
        var request = new EventsRequest { AfterSequence = since ?? 0, LiveOnly = since is null && !noFollow, NoFollow = noFollow };
        request.ContainerIds.Add(invocation.Parse.GetValue(_ids) ?? []);
        using var client = invocation.Connect();
        using var call = client.Supervisor.Events(request, SupervisorClient.Follow(cancellationToken));
        await foreach (var one in call.ResponseStream.ReadAllAsync(cancellationToken).ConfigureAwait(false))
        {
            invocation.Print(one, Line(one));
        }

        return ExitCodes.Success;
    }

    /// <summary>"12 2026-01-02 03:04:05.678Z web exited pid 4711 init status 3".</summary>
    internal static string Line(Event one)
    {
        var process = one.Pid == 0 ? "" : $" pid {one.Pid}{(one.Init ? " (init)" : "")}";
        return $"{one.Sequence} {Describe.Time(one.Time)} {one.ContainerId} {NameOf(one.Type)}{process}{(one.Exit is { } exit ? $" status {Describe.Exit(exit)}" : "")}";
    }

    private static string NameOf(EventType type) => type switch
    {
        EventType.Created => "created",
        EventType.ExecAdded => "exec-added",
        EventType.Started => "started",
        EventType.Exited => "exited",
        EventType.Oom => "out-of-memory",
        EventType.Paused => "paused",
        EventType.Resumed => "resumed",
        EventType.Updated => "updated",
        EventType.Deleted => "deleted",
        _ => $"event-type-{(int)type}",
    };
}
