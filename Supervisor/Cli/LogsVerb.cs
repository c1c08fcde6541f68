using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Shim.Interop;
using Supervisor.Cli.Logs;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>logs</c>: what a container has printed, as it printed it.</summary>
internal sealed class LogsVerb : Verb
{
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan s_longest = TimeSpan.FromMilliseconds(100);

    // How long a log may be quiet after the container's end while something still holds it open.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly Argument<string> _id = Values.ContainerId();
    private readonly LogOptions _options = new();
    private readonly Option<bool> _reopen = Values.Flag("--reopen", null, "Print nothing; let the shim open its log files anew, after they were renamed");

    internal LogsVerb(GlobalOptions globals, CliConsole console)
        : base("logs", "Print what a container has written to its stdout and stderr", globals, console)
    {
        Examples =
        [
            new("supervisor logs web", "all that is kept, byte for byte; stderr goes to stderr"),
            new("supervisor logs -f --tail 10 web", "the last ten lines, then what comes, until the container ends"),
            new("supervisor logs -t --since 10m web", "the last ten minutes, each line with its time"),
            new("mv output.log output.old; supervisor logs --reopen web", "rotate a log by hand"),
        ];
        Notes =
        [
            "Reads the container's log:// or file:// outputs, so it has to run where the supervisor does. `run -d` and `create` keep a log:// of at most 100 MB. "
                + "Times are UTC. Plain files have no times: --since, --until and --timestamps do not work with them.",
        ];
        Arguments.Add(_id);
        _options.AddTo(this);
        Options.Add(_reopen);
        Validators.Add(result =>
        {
            if (result.GetValue(_reopen) && _options.IsGiven(result))
            {
                result.AddError("--reopen prints nothing: it goes with no other option");
            }
        });
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var id = invocation.Parse.GetRequiredValue(_id);
        if (invocation.Parse.GetValue(_reopen))
        {
            await client.Supervisor.ReopenLogsAsync(new ReopenLogsRequest { ContainerId = id }, SupervisorClient.Change(cancellationToken)).ConfigureAwait(false);
            return ExitCodes.Success;
        }

        var container = await client.InspectAsync(id, processes: false, cancellationToken).ConfigureAwait(false);
        var choice = _options.ChoiceOf(invocation.Parse);
        if (choice.Until <= LogTime.Now)
        {
            // Nothing that comes can be wanted.
            choice = choice with { Follow = false };
        }

        var printer = _options.PrinterOf(invocation.Parse, new DescriptorStream(1), new DescriptorStream(2), SameTarget());
        var sources = LogSources.Open(container, choice, _options.NeedsTimes(invocation.Parse), text => invocation.Console.Error.WriteLine($"supervisor: logs: {text}"));
        try
        {
            if (choice.Follow)
            {
                await FollowAsync(client, container, sources, printer, choice.Until, cancellationToken).ConfigureAwait(false);
            }
            else
            {
                sources.ForEach(source => source.Pump(printer));
            }

            printer.Flush();
            return ExitCodes.Success;
        }
        finally
        {
            sources.ForEach(source => source.Dispose());
        }
    }

    /// <summary>Prints until the container has ended and everything it wrote is there.</summary>
    private static async Task FollowAsync(
        SupervisorClient client, ContainerDetails container, List<ILogSource> sources, LogPrinter printer, long? until, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var end = EndOfAsync(client, container.Id, stop.Token);
        var shim = container.Shim?.Pid ?? 0;
        using var stdout = new Microsoft.Win32.SafeHandles.SafeFileHandle(1, ownsHandle: false);
        var pause = s_shortest;
        var quietSince = TimeProvider.System.GetTimestamp();
        while (true)
        {
            // In this order: when nobody can add anything any more, one more look at the files finds everything.
            var ended = end.IsCompleted;
            var mayGrow = ended && sources.Exists(source => source.IsOpenIn(shim));
            var any = false;
            foreach (var source in sources)
            {
                any |= source.Pump(printer);
            }

            printer.Flush();
            if (any)
            {
                pause = s_shortest;
                quietSince = TimeProvider.System.GetTimestamp();
            }

            if (printer.IsPastEnd || (!any && until <= LogTime.Now))
            {
                await stop.CancelAsync().ConfigureAwait(false);
                return;
            }

            if (ended && !any && (!mayGrow || TimeProvider.System.GetElapsedTime(quietSince) > s_patience))
            {
                // If waiting failed, that is to be told.
                await end.ConfigureAwait(false);
                return;
            }

            if ((Libc.PollNow(stdout, 0) & Libc.POLLERR) != 0)
            {
                // Whoever read our output has gone, and we may have nothing to write for a long time.
                throw new NativeException("write", Errno.EPIPE);
            }

            await Task.Delay(pause, cancellationToken).ConfigureAwait(false);
            pause = pause * 2 < s_longest ? pause * 2 : s_longest;
        }
    }

    /// <summary>Until the container has ended, however long the supervisor is away meanwhile: the log is written without it.</summary>
    private static async Task EndOfAsync(SupervisorClient client, string id, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                await client.WaitAsync(id, pid: 0, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
            {
                // It was deleted.
                return;
            }
            catch (RpcException e) when (Failures.IsConnectionLost(e) || e.StatusCode == StatusCode.Unavailable)
            {
                await Task.Delay(TimeSpan.FromSeconds(1), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Whether our stdout and stderr are the same file, terminal or pipe, so that the order of what goes to both can be seen.</summary>
    private static bool SameTarget() => TargetOf("/proc/self/fd/1") == TargetOf("/proc/self/fd/2");

    private static string? TargetOf(string descriptor) => File.ResolveLinkTarget(descriptor, returnFinalTarget: false)?.FullName;
}
