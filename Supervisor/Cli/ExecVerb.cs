using System.CommandLine;
using System.Globalization;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Bundles;
using Supervisor.Cli.Foreground;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ContainerStatus = Containerd.V1.Status;

namespace Supervisor.Cli;

/// <summary><c>exec</c>: one more process in a running container.</summary>
internal sealed class ExecVerb : Verb
{
    private const int SigHup = 1;
    private const int SigPipe = 13;

    private readonly Argument<string> _id = Values.ContainerId();
    private readonly Argument<string[]> _command = Values.Command("The command and its arguments, taken as they stand", required: true);
    private readonly ProcessOptions _options = new(
        "Return at once and print the pid; the output is dropped",
        "Feed our standard input to the process");

    private readonly Option<DetachKeys> _detachKeys = Values.DetachKeys();

    internal ExecVerb(GlobalOptions globals, CliConsole console)
        : base("exec", "Run one more process in a running container", globals, console)
    {
        TakesCommand = true;
        Examples =
        [
            new("supervisor exec web ps aux", "run a command and be its exit code"),
            new("supervisor exec -it web sh", "a shell on your terminal"),
            new("supervisor exec -d --user nobody web /bin/worker --verbose", "start it and return; the pid is printed"),
        ];
        Notes =
        [
            "Options end at ID. What --env, --cwd and --user leave open is as the container's bundle says. Exit codes and signals: as in `supervisor run --help`.",
            "With -it the detach keys leave the process running without us; `supervisor attach --pid PID ID` comes back. Who goes without a word hangs it up.",
        ];
        Arguments.Add(_id);
        Arguments.Add(_command);
        _options.AddTo(this);
        Options.Add(_detachKeys);
        Validators.Add(result =>
        {
            if (result.GetValue(_options.Detach) && result.GetValue(_options.Interactive))
            {
                result.AddError("-i needs the foreground: with -d nobody is there to feed the process");
            }
        });
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        var id = invocation.Parse.GetRequiredValue(_id);
        var choice = _options.ChoiceOf(invocation.Parse, invocation.Parse.GetRequiredValue(_command));
        using var client = invocation.Connect();
        var request = new StartProcessRequest { ContainerId = id, Console = choice.Terminal, Process = await ProcessAsync(client, id, choice, cancellationToken).ConfigureAwait(false) };
        if (!invocation.Parse.GetValue(_options.Detach))
        {
            return await ForegroundAsync(invocation, client, request).ConfigureAwait(false);
        }

        var started = await StartAsync(client, request, cancellationToken).ConfigureAwait(false);
        invocation.Print(started, started.Process.Pid.ToString(CultureInfo.InvariantCulture));
        return ExitCodes.Success;
    }

    private async Task<int> ForegroundAsync(Invocation invocation, SupervisorClient client, StartProcessRequest request)
    {
        var interactive = invocation.Parse.GetValue(_options.Interactive);
        using var signals = new SignalRelay { HangUpEnds = request.Console };
        uint pid = 0;
        try
        {
            // A reader that has gone is SIGPIPE to the process, as it would be in a shell.
            var size = request.Console ? ForegroundTerminal.Size : null;
            var wishes = new StreamWishes { Stdin = interactive, Terminal = request.Console, OnDisconnect = "hangup", ConsoleSize = size };
            using var streams = ForegroundStreams.Open(client.SocketPath, wishes, () => signals.Inject(SigPipe));
            request.Stdin = streams.Stdin;
            request.Stdout = streams.Stdout;
            request.Stderr = streams.Stderr;
            using var screen = new ForegroundTerminal(client, request.ContainerId);
            signals.Hold();
            pid = (await StartAsync(client, request, signals.Forced).ConfigureAwait(false)).Process.Pid;
            signals.ForwardTo(number => RunVerb.SignalAsync(client, request.ContainerId, pid, number));
            var raw = request.Console && interactive && screen.EnterRaw();
            if (request.Console)
            {
                await screen.FollowSizeAsync(pid, size, signals.Forced).ConfigureAwait(false);
            }

            streams.Begin(raw ? () => { } : () => RunVerb.CloseStdin(client, request.ContainerId, pid), raw ? invocation.Parse.GetValue(_detachKeys) : null);
            if (await new ForegroundSession(client, request.ContainerId, pid, streams, screen).WaitAsync(signals.Forced).ConfigureAwait(false) is not { } exit)
            {
                invocation.Console.Error.WriteLine($"detached from process {pid} of {request.ContainerId}; `supervisor attach --pid {pid} {request.ContainerId}` comes back");
                return ExitCodes.Success;
            }

            await ForgetAsync(client, request.ContainerId, pid).ConfigureAwait(false);
            return (int)exit.Status;
        }
        catch (Exception e) when (signals.Last > 0 && (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }))
        {
            if (pid > 0 && request.Console)
            {
                await HangUpAsync(client, request.ContainerId, pid).ConfigureAwait(false);
            }

            return ExitCodes.Signalled(signals.Last);
        }
    }

    /// <summary>What a process is told when its terminal goes away: ours just has, because somebody insisted.</summary>
    private static async Task HangUpAsync(SupervisorClient client, string id, uint pid)
    {
        try
        {
            await RunVerb.SignalAsync(client, id, pid, SigHup).ConfigureAwait(false);
        }
        catch (RpcException)
        {
            // It has ended meanwhile, or nobody answers.
        }
    }

    private static async Task<StartProcessResponse> StartAsync(SupervisorClient client, StartProcessRequest request, CancellationToken cancellationToken)
    {
        try
        {
            return await client.Execution.StartProcessAsync(request, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
        }
        catch (RpcException e) when (!NewContainer.IsUnclear(e))
        {
            throw NewContainer.StartFailure(e);
        }
    }

    private static async Task<Process> ProcessAsync(SupervisorClient client, string id, ProcessChoice choice, CancellationToken cancellationToken)
    {
        var process = new Process { Terminal = choice.Terminal, Cwd = choice.WorkingDirectory ?? "" };
        process.Args.Add(choice.Command);
        process.Env.Add(choice.Environment);
        if (choice.Terminal && !choice.Environment.Any(variable => variable.StartsWith("TERM=", StringComparison.Ordinal)))
        {
            process.Env.Add("TERM=xterm");
        }

        if (choice.User is not null)
        {
            var container = await client.InspectAsync(id, processes: false, cancellationToken).ConfigureAwait(false);
            if (container.Status == ContainerStatus.Stopped)
            {
                throw new CliException($"cannot start a process in container {id}: it is stopped");
            }

            process.User = UserLookup.Under($"/proc/{container.Pid}/root").Resolve(choice.User).ToMessage();
        }

        return process;
    }

    /// <summary>The supervisor remembers an ended process until somebody has seen its status; we have.</summary>
    private static async Task ForgetAsync(SupervisorClient client, string id, uint pid)
    {
        try
        {
            await client.Execution.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = id, Pid = pid }, SupervisorClient.Change()).ConfigureAwait(false);
        }
        catch (RpcException)
        {
            // The container has gone meanwhile, or the supervisor has: the status is what counts.
        }
    }
}
