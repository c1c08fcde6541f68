using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Bundles;
using Supervisor.Cli.Foreground;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>run</c>: create and start a container, and, in the foreground, be its streams, its signals and its exit code.</summary>
internal sealed class RunVerb : Verb
{
    private readonly ContainerOptions _options = new(
        "Return at once and print the id; the output goes to a log (see --log)",
        "Feed our standard input to the process (with -d: make the FIFO b/ID/stdin, which its first writer may fill)");

    private readonly Option<DetachKeys> _detachKeys = Values.DetachKeys();
    private readonly Option<bool> _remove = Values.Flag("--rm", null, "Delete the container when it has ended, or when we are interrupted");

    internal RunVerb(GlobalOptions globals, CliConsole console)
        : base("run", "Create and start a container", globals, console)
    {
        TakesCommand = true;
        Examples =
        [
            new("supervisor run --rm --rootfs /srv/alpine hello echo 'hello world'", "run one command in a root directory"),
            new("supervisor run --rm -it --rootfs /srv/alpine shell", "a shell on your terminal"),
            new("supervisor run -d --bundle /srv/bundles/web web", "start a bundle in the background; `supervisor logs web` shows its output"),
            new("supervisor run -d --log 'log:///var/log/web.log?format=docker-json&max-size=1g' --rootfs /srv/alpine web", "keep the log elsewhere"),
            new("echo data | supervisor run --rm -i --rootfs /srv/alpine sum sha256sum", "feed it through a pipe"),
        ];
        Notes =
        [
            "Options end at ID. In the foreground the exit code is the process's own (128 + N after signal N); 125 is an error of ours, 126 a command "
                + "that cannot be executed, 127 one that does not exist. SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on; the third one ends us.",
            "With -it the detach keys leave the container running without us; `supervisor attach ID` comes back. Who goes without a word (SIGHUP, a closed "
                + "window) leaves it running, too, unless --rm says that it is not to stay.",
            "--rootfs, --env, --cwd, --user and COMMAND put a config.json into b/ID beside the supervisor's socket (mode 0700). `delete`, and --rm, remove it.",
        ];
        _options.AddTo(this);
        Options.Add(_remove);
        Options.Add(_detachKeys);
        Validators.Add(result =>
        {
            if (result.GetValue(_remove) && result.GetValue(_options.Process.Detach))
            {
                result.AddError("--rm needs the foreground: with -d nobody is there to delete the container");
            }

            if (result.GetResult(_options.Log) is not null && !result.GetValue(_options.Process.Detach))
            {
                result.AddError("--log goes with -d: in the foreground the output comes here");
            }
        });
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        var detached = invocation.Parse.GetValue(_options.Process.Detach);
        var interactive = invocation.Parse.GetValue(_options.Process.Interactive);
        using var client = invocation.Connect();
        using var container = await NewContainer.PrepareAsync(client, _options, invocation.Parse, detached).ConfigureAwait(false);
        return detached
            ? await DetachedAsync(invocation, container, interactive, cancellationToken).ConfigureAwait(false)
            : await ForegroundAsync(invocation, client, container, interactive).ConfigureAwait(false);
    }

    private async Task<int> DetachedAsync(Invocation invocation, NewContainer container, bool interactive, CancellationToken cancellationToken)
    {
        var created = await container.CreateDetachedAsync(interactive, invocation.Parse.GetValue(_options.Log), cancellationToken).ConfigureAwait(false);
        try
        {
            await container.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await container.DeleteAsync().ConfigureAwait(false);
            throw;
        }

        invocation.Print(created, container.Id);
        return ExitCodes.Success;
    }

    private async Task<int> ForegroundAsync(Invocation invocation, SupervisorClient client, NewContainer container, bool interactive)
    {
        var remove = invocation.Parse.GetValue(_remove);
        var terminal = container.Choice.Terminal;
        using var signals = new SignalRelay { HangUpEnds = terminal };
        var created = false;
        var asked = false;
        var started = false;
        var detached = false;
        try
        {
            // A reader that has gone is SIGPIPE to a program in a shell. A container that nobody will want later ends for it; one that is
            // to be kept goes on, and its output is dropped.
            using var streams = ForegroundStreams.Open(client.SocketPath, new StreamWishes { Stdin = interactive, Terminal = terminal, OnDisconnect = "discard" }, () =>
            {
                if (remove)
                {
                    signals.Interrupt(13);
                }
            });
            await container.CreateAsync(streams.Stdin, streams.Stdout, streams.Stderr, signals.Forced).ConfigureAwait(false);
            created = true;
            using var screen = new ForegroundTerminal(client, container.Id);
            if (terminal)
            {
                await screen.FollowSizeAsync(pid: 0, known: null, signals.Interrupted).ConfigureAwait(false);
            }

            signals.Interrupted.ThrowIfCancellationRequested();
            // A terminal that is raw has no end of input: if it ends, it has gone, and the container is to go on without it.
            var raw = terminal && interactive && screen.EnterRaw();
            streams.Begin(raw ? () => { } : () => CloseStdin(client, container.Id, pid: 0), raw ? invocation.Parse.GetValue(_detachKeys) : null);
            signals.Hold();
            asked = true;
            await container.StartAsync(signals.Forced).ConfigureAwait(false);
            started = true;
            signals.ForwardTo(number => SignalAsync(client, container.Id, pid: 0, number));
            if (await new ForegroundSession(client, container.Id, pid: 0, streams, screen).WaitAsync(signals.Forced).ConfigureAwait(false) is { } exit)
            {
                return (int)exit.Status;
            }

            detached = true;
            invocation.Console.Error.WriteLine(
                $"detached from {container.Id}; `supervisor attach {container.Id}` comes back{(remove ? $". It stays: `supervisor delete --force {container.Id}` does what --rm would have done" : "")}");
            return ExitCodes.Success;
        }
        catch (Exception e) when (signals.Last > 0 && (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled }))
        {
            // It may run already, although no answer has come.
            started |= asked;
            return ExitCodes.Signalled(signals.Last);
        }
        finally
        {
            // A container whose start failed would only be in the way of the next attempt.
            if (created && !detached && (remove || !started))
            {
                await container.DeleteAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>Lets go of a process's stdin after our end of it was closed.</summary>
    internal static void CloseStdin(SupervisorClient client, string id, uint pid)
    {
        try
        {
            client.Supervisor.CloseStdin(new CloseStdinRequest { ContainerId = id, Pid = pid }, SupervisorClient.Read());
        }
        catch (RpcException)
        {
            // The process has ended, and its stdin with it.
        }
    }

    /// <summary>Gives a signal that we received to a process.</summary>
    internal static async Task SignalAsync(SupervisorClient client, string id, uint pid, int number) =>
        await client.Supervisor.KillAsync(new KillRequest { ContainerId = id, Pid = pid, Signal = (uint)number }, SupervisorClient.Read()).ConfigureAwait(false);
}
