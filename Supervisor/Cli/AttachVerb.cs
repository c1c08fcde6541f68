using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Shim.Interop;
using Supervisor.Cli.Foreground;
using Supervisor.Cli.Logs;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>attach</c>: be the streams, the signals and the exit code of a process that runs already, beside everybody else who is.</summary>
internal sealed class AttachVerb : Verb
{
    private const int SigPipe = 13;

    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Option<uint> _pid = Values.Pid("The host pid of a process that was started with exec (default: the init process)");
    private readonly Option<bool> _noStdin = Values.Flag("--no-stdin", null, "Only look: our standard input is not read");
    private readonly Option<DetachKeys> _detachKeys = Values.DetachKeys();

    internal AttachVerb(GlobalOptions globals, CliConsole console)
        : base("attach", "Attach to a running process: its output from now on, its input, its exit code", globals, console)
    {
        Examples =
        [
            new("supervisor attach shell", "be on the terminal of the container; ctrl-p ctrl-q leaves it"),
            new("supervisor attach --no-stdin --detach-keys q web", "watch only; q leaves"),
            new("supervisor attach --pid 4711 web", "come back to an exec"),
        ];
        Notes =
        [
            "Works for terminals, and for outputs that are log:// or binary:// addresses. Any number of clients may be attached at once; one who reads too "
                + "slowly loses bytes, and is told how many. On a terminal the detach keys, SIGTERM and SIGHUP leave the process alone. Without a terminal "
                + "SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to the process, and the third one ends us.",
            "Without a terminal our standard input goes to the container's stdin FIFO, if it has one (`run -d -i`); when the last writer has closed it, the "
                + "process sees the end of its input.",
        ];
        Arguments.Add(_id);
        Options.Add(_pid);
        Options.Add(_noStdin);
        Options.Add(_detachKeys);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var id = invocation.Parse.GetRequiredValue(_id);
        var pid = invocation.Parse.GetValue(_pid);
        var container = await client.InspectAsync(id, processes: pid != 0, cancellationToken).ConfigureAwait(false);
        if (pid == container.Pid)
        {
            pid = 0;
        }

        var terminal = pid == 0 ? container.Terminal : TerminalOf(container, pid);
        using var signals = new SignalRelay { HangUpEnds = terminal };
        try
        {
            return await AttachAsync(invocation, client, container, pid, terminal, signals).ConfigureAwait(false);
        }
        catch (Exception e) when (signals.Last > 0 && (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }))
        {
            return ExitCodes.Signalled(signals.Last);
        }
    }

    private async Task<int> AttachAsync(Invocation invocation, SupervisorClient client, ContainerDetails container, uint pid, bool terminal, SignalRelay signals)
    {
        var reads = !invocation.Parse.GetValue(_noStdin);
        using var screen = new ForegroundTerminal(client, container.Id);

        // Somebody who has gone hears nothing, so he leaves.
        using var streams = ForegroundStreams.Open(
            client.SocketPath, new StreamWishes { Stdin = terminal && reads, Keys = terminal && RawTerminal.IsTerminal(0), Terminal = terminal }, () => signals.Interrupt(SigPipe));
        var request = new AttachRequest { ContainerId = container.Id, Pid = pid, Stdin = streams.Stdin, Stdout = streams.Stdout, Stderr = streams.Stderr };
        try
        {
            await client.Supervisor.AttachAsync(request, SupervisorClient.Change(signals.Interrupted)).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.FailedPrecondition)
        {
            throw new CliException(e.Status.Detail, HintFor(container, pid));
        }

        DetachKeys? keys = null;
        if (terminal)
        {
            keys = screen.EnterRaw() ? invocation.Parse.GetValue(_detachKeys) : null;
            await screen.RedrawAsync(pid, signals.Interrupted).ConfigureAwait(false);
            await screen.FollowSizeAsync(pid, known: null, signals.Interrupted).ConfigureAwait(false);
        }
        else
        {
            signals.ForwardTo(number => RunVerb.SignalAsync(client, container.Id, pid, number));
            if (reads && pid == 0 && OutputAddress.Parse(container.Stdin) is { Kind: OutputKind.Fifo } stdin)
            {
                InputRelay.Begin(stdin.Path, () => { });
            }
        }

        // The terminal is not ours alone: that our input ends does not end it.
        streams.Begin(() => { }, keys);
        var stop = terminal ? signals.Interrupted : signals.Forced;
        if (await new ForegroundSession(client, container.Id, pid, streams, screen).WaitAsync(stop).ConfigureAwait(false) is { } exit)
        {
            return (int)exit.Status;
        }

        var again = pid == 0 ? container.Id : $"--pid {pid} {container.Id}";
        invocation.Console.Error.WriteLine($"detached from {container.Id}; `supervisor attach {again}` comes back");
        return ExitCodes.Success;
    }

    private static bool TerminalOf(ContainerDetails container, uint pid) =>
        container.Processes.FirstOrDefault(process => process.Pid == pid && process.Managed) is { } process
            ? process.Terminal
            : throw new CliException($"container {container.Id} has no process {pid} that was started through us", $"`supervisor ps {container.Id}` lists them");

    /// <summary>Where the output can be seen instead.</summary>
    private static string? HintFor(ContainerDetails container, uint pid) =>
        pid == 0 && OutputAddress.Parse(container.Stdout).Kind is OutputKind.File or OutputKind.Log ? $"`supervisor logs -f {container.Id}` shows its output" : null;
}
