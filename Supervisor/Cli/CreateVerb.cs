using Supervisor.Cli.Bundles;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>create</c>: everything of a container but its start.</summary>
internal sealed class CreateVerb : Verb
{
    private readonly ContainerOptions _options = new(
        "Accepted for the likeness to run: a created container is always detached",
        "Make the FIFO b/ID/stdin beside the socket; the process reads what its first writer writes");

    internal CreateVerb(GlobalOptions globals, CliConsole console)
        : base("create", "Create a container whose init process waits for its start, and print its pid", globals, console)
    {
        TakesCommand = true;
        Examples =
        [
            new("supervisor create --bundle /srv/bundles/web web", "prints the host pid of the waiting init process"),
            new("supervisor start web", "lets it run"),
        ];
        Notes = ["`supervisor logs ID` shows the output. `delete` removes b/ID beside the supervisor's socket, and with it the log, unless --log puts it elsewhere."];
        _options.AddTo(this);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        using var container = await NewContainer.PrepareAsync(client, _options, invocation.Parse, detached: true).ConfigureAwait(false);
        var created = await container.CreateDetachedAsync(
            invocation.Parse.GetValue(_options.Process.Interactive), invocation.Parse.GetValue(_options.Log), cancellationToken).ConfigureAwait(false);
        invocation.Print(created, created.InitProcess.Pid.ToString(System.Globalization.CultureInfo.InvariantCulture));
        return ExitCodes.Success;
    }
}
