using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Containerd.V1;
using Grpc.Core;
using Spectre.Console;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ContainerStatus = Containerd.V1.Status;

namespace Supervisor.Cli;

/// <summary><c>stats</c>: what containers use, once or every second.</summary>
internal sealed class StatsVerb : Verb
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly Argument<string[]> _ids = new("ID") { Description = "The containers (default: all that run)", HelpName = "ID", Arity = ArgumentArity.ZeroOrMore };
    private readonly Option<bool> _noStream = Values.Flag("--no-stream", null, "Print once and stop");

    internal StatsVerb(GlobalOptions globals, CliConsole console)
        : base("stats", "Show what containers use: CPU, memory, processes, block I/O", globals, console)
    {
        Examples =
        [
            new("supervisor stats", "every second, until you interrupt it"),
            new("supervisor stats --no-stream web db", "two containers, once"),
            new("supervisor stats --output json web", "one object a line: containerId and stats"),
        ];
        Notes = ["CPU is that of the last second (with --no-stream, too): 100% is one processor."];
        Arguments.Add(_ids);
        Options.Add(_noStream);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        var ids = invocation.Parse.GetValue(_ids) ?? [];
        using var client = invocation.Connect();
        if (invocation.Parse.GetValue(_noStream))
        {
            await OnceAsync(invocation, client, ids, cancellationToken).ConfigureAwait(false);
            return ExitCodes.Success;
        }

        // Not killed but asked to stop: the live display has hidden the cursor and has to show it again.
        using var interrupted = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Stop(context, interrupted));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Stop(context, interrupted));
        try
        {
            await (invocation.WantsJson || !invocation.Console.IsTerminal
                ? LinesAsync(invocation, client, ids, interrupted.Token)
                : LiveAsync(invocation.Console, client, ids, interrupted.Token)).ConfigureAwait(false);
        }
        catch (Exception e) when (interrupted.IsCancellationRequested && e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            // As asked.
        }

        return ExitCodes.Success;
    }

    private static void Stop(PosixSignalContext context, CancellationTokenSource source)
    {
        context.Cancel = true;
        source.Cancel();
    }

    private static async Task OnceAsync(Invocation invocation, SupervisorClient client, string[] ids, CancellationToken cancellationToken)
    {
        var before = await SampleAsync(client, ids, strict: true, cancellationToken).ConfigureAwait(false);
        if (invocation.WantsJson)
        {
            invocation.Console.Out.WriteLine(Json.ArrayOf(before.Select(sample => Json.WithContainer(sample.Key, sample.Value))));
            return;
        }

        await Task.Delay(before.Count > 0 ? s_interval : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
        var now = await SampleAsync(client, [.. before.Keys], strict: false, cancellationToken).ConfigureAwait(false);
        invocation.Console.Print(Table(before, now));
    }

    private static async Task LinesAsync(Invocation invocation, SupervisorClient client, string[] ids, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        var before = await SampleAsync(client, ids, strict: true, cancellationToken).ConfigureAwait(false);
        do
        {
            if (invocation.WantsJson)
            {
                foreach (var (id, sample) in before)
                {
                    invocation.Console.Out.WriteLine(Json.WithContainer(id, sample));
                }
            }

            await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false);
            var now = await SampleAsync(client, ids, strict: false, cancellationToken).ConfigureAwait(false);
            if (!invocation.WantsJson)
            {
                invocation.Console.Print(Table(before, now));
            }

            before = now;
        }
        while (before.Count > 0 || ids.Length == 0);
    }

    private static async Task LiveAsync(CliConsole console, SupervisorClient client, string[] ids, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        var before = await SampleAsync(client, ids, strict: true, cancellationToken).ConfigureAwait(false);
        await console.Ansi.Live(Table(before, before)).StartAsync(async display =>
        {
            do
            {
                display.Refresh();
                await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false);
                var now = await SampleAsync(client, ids, strict: false, cancellationToken).ConfigureAwait(false);
                display.UpdateTarget(Table(before, now));
                before = now;
            }
            while (before.Count > 0 || ids.Length == 0);
        }).ConfigureAwait(false);
    }

    /// <summary>One measurement of each container. Those that cannot be measured are left out, unless they were named and this is the first time.</summary>
    private static async Task<SortedDictionary<string, GetStatsResponse>> SampleAsync(SupervisorClient client, string[] ids, bool strict, CancellationToken cancellationToken)
    {
        var wanted = ids.Length > 0 ? ids : await RunningAsync(client, cancellationToken).ConfigureAwait(false);
        var answers = await Task.WhenAll(wanted.Distinct().Select(async id => (Id: id, Stats: await MeasureAsync(id).ConfigureAwait(false)))).ConfigureAwait(false);
        var samples = new SortedDictionary<string, GetStatsResponse>(StringComparer.Ordinal);
        foreach (var (id, stats) in answers)
        {
            if (stats is not null)
            {
                samples.Add(id, stats);
            }
        }

        return samples;

        async Task<GetStatsResponse?> MeasureAsync(string id)
        {
            try
            {
                return await client.Supervisor.GetStatsAsync(new GetStatsRequest { ContainerId = id }, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
            }
            catch (RpcException e) when ((!strict || ids.Length == 0)
                && Failures.ConnectError(e) is null
                && e.StatusCode is StatusCode.NotFound or StatusCode.FailedPrecondition or StatusCode.Unavailable)
            {
                return null;
            }
        }
    }

    private static async Task<string[]> RunningAsync(SupervisorClient client, CancellationToken cancellationToken)
    {
        var all = await client.Supervisor.InspectAsync(new InspectRequest { NoProcesses = true }, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        return [.. all.Containers.Where(container => container.Status is ContainerStatus.Running or ContainerStatus.Paused).Select(container => container.Id)];
    }

    private static Table Table(SortedDictionary<string, GetStatsResponse> before, SortedDictionary<string, GetStatsResponse> now)
    {
        var table = Tables.WithColumns("ID", ">CPU", ">MEMORY", ">LIMIT", ">PIDS", ">READ", ">WRITTEN", ">OOM KILLS");
        foreach (var (id, sample) in now)
        {
            var stats = sample.Stats;
            table.Row(
                id,
                before.TryGetValue(id, out var earlier) ? Cpu(earlier.Stats, stats) : "-",
                Tables.Bytes(stats.Memory?.UsageBytes ?? 0),
                stats.Memory is { LimitBytes: > 0 } memory ? Tables.Bytes(memory.LimitBytes) : "-",
                stats.Pids is { Limit: > 0 } pids ? $"{pids.Current}/{pids.Limit}" : Describe.Number(stats.Pids?.Current ?? 0),
                Tables.Bytes(stats.BlockIo?.ReadBytes ?? 0),
                Tables.Bytes(stats.BlockIo?.WriteBytes ?? 0),
                Describe.Number(stats.Memory?.OomKills ?? 0));
        }

        return table;
    }

    private static string Cpu(Stats before, Stats now)
    {
        var elapsed = (now.Time.ToDateTime() - before.Time.ToDateTime()).TotalNanoseconds;
        var used = (now.Cpu?.UsageNs ?? 0) - (double)(before.Cpu?.UsageNs ?? 0);
        return elapsed <= 0 || used < 0 ? "-" : string.Create(CultureInfo.InvariantCulture, $"{100 * used / elapsed:0.0}%");
    }
}
