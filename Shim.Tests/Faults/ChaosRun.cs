using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Faults;

/// <summary>How much chaos.</summary>
/// <param name="Containers">Ids that are fought over; every second of them outlives its shim.</param>
/// <param name="Clients">Who do what they like.</param>
/// <param name="Duration">For how long.</param>
public sealed record ChaosPlan(int Containers, int Clients, TimeSpan Duration);

/// <summary>One run of chaos: the operations, the kills, and what must hold at the end.</summary>
public sealed class ChaosRun
{
    // An exit status that nobody else gives.
    private const uint OwnStatus = 7;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_readLimit = TimeSpan.FromSeconds(10);

    // What a client that knows nothing of the others may be told; Unavailable and what follows while somebody is dead, Unknown for a runtime that was killed.
    private static readonly StatusCode[] s_documented =
    [
        StatusCode.OK, StatusCode.NotFound, StatusCode.AlreadyExists, StatusCode.FailedPrecondition, StatusCode.Unavailable, StatusCode.Cancelled,
        StatusCode.Internal, StatusCode.Unknown,
    ];

    private static readonly string[] s_reads = ["list", "get", "info"];

    private readonly SupervisorFixture _supervisor;
    private readonly ChaosPlan _plan;
    private readonly string[] _ids;
    private readonly Dictionary<string, Bundle> _bundles;
    private readonly ConcurrentDictionary<(string Name, StatusCode Code), int> _answers = new();
    private readonly ConcurrentBag<double> _reads = [];
    private readonly ConcurrentQueue<string> _surprises = new();
    private readonly SortedDictionary<string, int> _kills = new(StringComparer.Ordinal) { ["supervisor"] = 0, ["shim"] = 0, ["runtime"] = 0 };
    private readonly List<string> _checked = [];
    private readonly int _seed = Environment.TickCount;
    private IReadOnlyList<Event> _events = [];
    private DateTime _end;

    internal ChaosRun(SupervisorFixture supervisor, ChaosPlan plan)
    {
        (_supervisor, _plan) = (supervisor, plan);
        _ids = [.. Enumerable.Range(0, plan.Containers).Select(n => $"chaos-{n}")];
        _bundles = _ids.Select((id, n) => (id, Bundle: supervisor.NewBundle().PidsLimit(200).Annotation("containerd.io/on-shim-loss", n % 2 == 0 ? "adopt" : "kill")
            .Script("sleep 0.5 & sleep 1 & sleep 1000 & wait; exit 7").Write())).ToDictionary(pair => pair.id, pair => pair.Bundle);
    }

    /// <summary>What was done and found, as a page of markdown.</summary>
    public string Summary
    {
        get
        {
            var text = new StringBuilder();
            text.AppendLine(CultureInfo.InvariantCulture, $"# Chaos: {_plan.Containers} containers, {_plan.Clients} clients, {_plan.Duration.TotalSeconds:0} s (seed {_seed})\n");
            text.AppendLine("| operation | answers |").AppendLine("|---|---|");
            foreach (var name in _answers.GroupBy(answer => answer.Key.Name).OrderBy(group => group.Key, StringComparer.Ordinal))
            {
                text.AppendLine(CultureInfo.InvariantCulture, $"| {name.Key} | {string.Join(", ", name.OrderByDescending(answer => answer.Value).Select(answer => $"{answer.Key.Code} {answer.Value}"))} |");
            }

            var reads = _reads.Order().ToList();
            text.AppendLine(CultureInfo.InvariantCulture, $"\n{_answers.Values.Sum()} operations; killed: {string.Join(", ", _kills.Select(kill => $"{kill.Key} {kill.Value}"))}.");
            text.AppendLine(CultureInfo.InvariantCulture, $"Reads answered: {reads.Count}, p50 {At(reads, 0.5):0.0} ms, p99 {At(reads, 0.99):0.0} ms, longest {At(reads, 1):0.0} ms.");
            text.AppendLine(CultureInfo.InvariantCulture, $"Events: {_events.Count}, of them {_events.Count(e => e.Type == EventType.Created)} creations and {_events.Count(e => e.Type == EventType.Exited)} exits:");
            foreach (var reason in _events.Where(e => e.Type == EventType.Exited).GroupBy(e => (e.Init, e.Exit.Reason, e.Exit.Status)).OrderByDescending(group => group.Count()))
            {
                text.AppendLine(CultureInfo.InvariantCulture, $"- {(reason.Key.Init ? "init" : "exec")}, {reason.Key.Reason}, status {reason.Key.Status}: {reason.Count()}");
            }

            text.AppendLine("\nChecked:");
            _checked.ForEach(line => text.AppendLine(CultureInfo.InvariantCulture, $"- {line}"));
            return text.ToString();
        }
    }

    /// <summary>Lets it happen, and checks.</summary>
    public async Task RunAsync()
    {
        await using var events = await EventRecorder.FromNowAsync(_supervisor);
        _end = DateTime.UtcNow + _plan.Duration;
        var clients = Enumerable.Range(0, _plan.Clients).Select(n => Task.Run(() => ClientAsync(new Random(_seed + n)))).ToList();
        await KillAsync(new Random(_seed - 1));
        await Task.WhenAll(clients).WithinAsync(TimeSpan.FromMinutes(2), "the clients' last calls");

        Assert.That(_surprises.Take(20), Is.Empty, $"{_surprises.Count} undocumented answers");
        _checked.Add("only documented answers");
        Assert.That(await DeleteAllAsync(), Is.Empty);
        _checked.Add("every container can be deleted");
        var newest = (await _supervisor.Control.InfoAsync(new InfoRequest())).NewestSequence;
        await Poll.Until(() => events.Events is [.., var last] && last.Sequence >= newest, Poll.Deadline, "all events");
        CheckEvents(_events = events.Events);
        await _supervisor.AssertNothingLeftAsync();
        _checked.Add("no process, mount, cgroup, socket, file or state of the runtime is left");
        await CheckSupervisorAsync();
        CheckReads();
    }

    private static double At(List<double> sorted, double quantile) => sorted.Count == 0 ? 0 : sorted[(int)Math.Min(sorted.Count - 1, quantile * sorted.Count)];

    private async Task<IReadOnlyList<string>> DeleteAllAsync()
    {
        // After the last kill a loss may still be dealt with, and a deletion over it ask to be repeated.
        IReadOnlyList<string> complaints = [];
        for (var attempt = 0; attempt < 3; attempt++)
        {
            complaints = await _supervisor.DeleteAllAsync();
            if (complaints.Count == 0)
            {
                break;
            }
        }

        return complaints;
    }

    private void CheckEvents(IReadOnlyList<Event> events)
    {
        EventRules.Check(events);
        _checked.Add("events: numbers without gap or double; create, start, exit, delete in order, one exit for each process, execs before init");
        var open = events.GroupBy(e => e.ContainerId).Where(container => container.Last() is not { Type: EventType.Deleted, Init: true });
        Assert.That(open.Select(container => container.Key), Is.Empty, "every container's last event is its deletion");
        Assert.That(events.Count(e => e is { Type: EventType.Exited, Init: true }), Is.EqualTo(events.Count(e => e.Type == EventType.Created)), "exits of inits");
        Assert.That(
            events.Count(e => e is { Type: EventType.Exited, Init: false }), Is.EqualTo(events.Count(e => e is { Type: EventType.Started, Init: false })), "exits of execs");
        _checked.Add("as many exits as processes, and every container's last event is its deletion");
        foreach (var e in events.Where(e => e.Type == EventType.Exited))
        {
            Assert.That(e.Exit.Status, Is.AnyOf(OwnStatus, 137u, 143u, 255u), EventRules.Describe(e));
            Assert.That(e.Exit.Status == 255, Is.EqualTo(e.Exit.Reason == ExitReason.Unknown), EventRules.Describe(e));
        }

        _checked.Add("every status is the process's own, that of a signal that was sent, or 255 with the reason unknown; never 0");
    }

    private async Task CheckSupervisorAsync()
    {
        await Poll.For(
            () => HostProcess.Children(_supervisor.ProcessId), children => children.Count == 0, Poll.Deadline, "the supervisor has no child, and no zombie");
        var used = ProcessCost.Descriptors(_supervisor.ProcessId);
        await _supervisor.RestartAsync();
        var fresh = ProcessCost.Descriptors(_supervisor.ProcessId);

        // Connections of clients that have just gone, segments of the event log.
        await TestContext.Out.WriteLineAsync($"descriptors: {used}, after a restart {fresh}");
        Assert.That(used, Is.LessThanOrEqualTo(fresh + 8), "descriptors of the supervisor");
        _checked.Add("the supervisor has no zombie and no descriptor too many");
    }

    private void CheckReads()
    {
        var reads = _reads.Order().ToList();
        Assert.That(reads, Is.Not.Empty);
        Assert.That(At(reads, 0.99), Is.LessThan(5000), "99 of 100 reads, in ms");
        _checked.Add("reads are quick whatever else goes on");
    }

    private async Task KillAsync(Random random)
    {
        while (DateTime.UtcNow < _end)
        {
            await Task.Delay(random.Next(100, 500));
            switch (random.Next(8))
            {
                case 0:
                    _kills["supervisor"]++;
                    await _supervisor.RestartAsync(hard: true);
                    break;
                case < 5:
                    KillOne("shim", random, process => process.CommandLine.Contains(" --state ", StringComparison.Ordinal));
                    break;
                default:
                    KillOne("runtime", random, process => process.CommandLine.Contains("runc", StringComparison.Ordinal)
                        && process.CommandLine.Contains($"--root {_supervisor.RuntimeRoot}", StringComparison.Ordinal));
                    break;
            }
        }
    }

    private void KillOne(string kind, Random random, Func<HostProcess, bool> isOne)
    {
        var found = HostProcess.Mentioning(_supervisor.RuntimeRoot).Where(process => process.Pid != _supervisor.ProcessId && isOne(process)).ToList();
        if (found.Count > 0 && Syscall.kill(found[random.Next(found.Count)].Pid, Signum.SIGKILL) == 0)
        {
            _kills[kind]++;
        }
    }

    private async Task ClientAsync(Random random)
    {
        while (DateTime.UtcNow < _end)
        {
            var id = _ids[random.Next(_ids.Length)];
            var clock = Stopwatch.StartNew();
            var (name, outcome) = await ActAsync(random, id);
            _answers.AddOrUpdate((name, outcome.StatusCode), 1, (_, count) => count + 1);
            if (outcome.StatusCode == StatusCode.OK && s_reads.Contains(name))
            {
                _reads.Add(clock.Elapsed.TotalMilliseconds);
            }

            if (!s_documented.Contains(outcome.StatusCode))
            {
                _surprises.Enqueue($"{name} {id}: {outcome}");
            }
        }
    }

    private async Task<(string Name, Grpc.Core.Status Outcome)> ActAsync(Random random, string id)
    {
        var options = new CallOptions(deadline: DateTime.UtcNow + s_patience);
        var quick = new CallOptions(deadline: DateTime.UtcNow + s_readLimit);
        try
        {
            var containers = _supervisor.Containers;
            var control = _supervisor.Control;
            var pid = random.Next(4) == 0 ? await AnyProcessAsync(containers, id, random, quick) : 0;
            return random.Next(24) switch
            {
                0 or 1 or 2 => ("create", await Refusal.OutcomeAsync(
                    containers.CreateContainerAsync(new CreateContainerRequest { Id = id, BundlePath = _bundles[id].Path }, options))),
                3 or 4 or 5 => ("start", await Refusal.OutcomeAsync(containers.StartContainerAsync(new StartContainerRequest { Id = id }, options))),
                6 => ("pause", await Refusal.OutcomeAsync(containers.PauseContainerAsync(new PauseContainerRequest { Id = id }, options))),
                7 or 8 => ("resume", await Refusal.OutcomeAsync(containers.ResumeContainerAsync(new ResumeContainerRequest { Id = id }, options))),
                9 => ("stats", await Refusal.OutcomeAsync(control.GetStatsAsync(new GetStatsRequest { ContainerId = id }, options))),
                10 => ("list", await Refusal.OutcomeAsync(containers.ListContainersAsync(new ListContainersRequest(), quick))),
                11 => ("get", await Refusal.OutcomeAsync(containers.GetContainerAsync(new GetContainerRequest { Id = id }, quick))),
                12 => ("info", await Refusal.OutcomeAsync(control.InfoAsync(new InfoRequest(), quick))),
                13 => ("ps", await Refusal.OutcomeAsync(containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = id }, options))),
                14 => ("update", await Refusal.OutcomeAsync(
                    containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = id, BundlePath = _bundles[id].Path }, options))),
                15 when random.Next(3) == 0 => ("kill", await Refusal.OutcomeAsync(
                    control.KillAsync(new KillRequest { ContainerId = id, Signal = 9, All = random.Next(2) == 0 }, options))),
                15 => ("inspect", await Refusal.OutcomeAsync(control.InspectAsync(new InspectRequest { ContainerIds = { id } }, options))),
                16 => ("delete", await Refusal.OutcomeAsync(containers.DeleteContainerAsync(new DeleteContainerRequest { Id = id }, options))),
                17 when pid != 0 => ("signal", await Refusal.OutcomeAsync(
                    containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = id, Pid = pid, Signal = 9 }, options))),
                18 when pid != 0 => ("process", await Refusal.OutcomeAsync(
                    containers.GetProcessAsync(new GetProcessRequest { ContainerId = id, Pid = pid }, options))),
                19 when pid != 0 => ("forget", await Refusal.OutcomeAsync(
                    containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = id, Pid = pid }, options))),
                20 => ("stdin", await Refusal.OutcomeAsync(control.CloseStdinAsync(new CloseStdinRequest { ContainerId = id }, options))),
                21 => ("reopen", await Refusal.OutcomeAsync(control.ReopenLogsAsync(new ReopenLogsRequest { ContainerId = id }, options))),
                22 => ("resize", await Refusal.OutcomeAsync(
                    control.ResizeConsoleAsync(new ResizeConsoleRequest { ContainerId = id, Width = 80, Height = 25 }, options))),
                _ => ("exec", await Refusal.OutcomeAsync(containers.StartProcessAsync(
                    new StartProcessRequest { ContainerId = id, Process = new Containerd.V1.Process { Args = { "sh", "-c", $"usleep {random.Next(200_000)}; exit {OwnStatus}" } } },
                    options))),
            };
        }
        catch (Exception exception) when (exception is InvalidOperationException or ObjectDisposedException)
        {
            // The fixture has no client just now: the supervisor is away.
            await Task.Delay(20);
            return ("away", new Grpc.Core.Status(StatusCode.Unavailable, exception.Message));
        }
    }

    private static async Task<uint> AnyProcessAsync(ExecutionService.ExecutionServiceClient containers, string id, Random random, CallOptions options)
    {
        try
        {
            var processes = (await containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = id }, options)).Processes;
            return processes.Count == 0 ? 0 : processes[random.Next(processes.Count)].Pid;
        }
        catch (RpcException)
        {
            return 0;
        }
    }
}
