using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>
/// Many clients do what they like with a few containers at the same time. Whatever they meet must be one of the documented answers,
/// quickly; and in the end everything can be deleted, every process has exactly one exit, and nothing is left.
/// </summary>
public sealed class ChaosTests : SupervisorTests
{
    private const int Clients = 12;

    private static readonly string[] s_ids = ["chaos-a", "chaos-b", "chaos-c", "chaos-d"];

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    // What a client that knows nothing of the others may be told. Everything else is a fault of ours.
    private static readonly StatusCode[] s_documented =
        [StatusCode.OK, StatusCode.NotFound, StatusCode.AlreadyExists, StatusCode.FailedPrecondition];

    [Test]
    public Task TwelveClients_EightSeconds_OnlyDocumentedAnswers() => RunAsync(TimeSpan.FromSeconds(8), restarts: false);

    [Test]
    public Task TwelveClients_SupervisorKilledAgainAndAgain_NothingIsLost() => RunAsync(TimeSpan.FromSeconds(8), restarts: true);

    [Test]
    [Category("Soak")]
    public Task TwelveClients_FiveMinutes_OnlyDocumentedAnswers() => RunAsync(TimeSpan.FromMinutes(5), restarts: false);

    [Test]
    [Category("Soak")]
    public Task TwelveClients_SupervisorKilledForFiveMinutes_NothingIsLost() => RunAsync(TimeSpan.FromMinutes(5), restarts: true);

    private async Task RunAsync(TimeSpan duration, bool restarts)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var seed = Environment.TickCount;
        await TestContext.Out.WriteLineAsync($"seed {seed}");
        var bundles = s_ids.ToDictionary(id => id, _ => Supervisor.NewBundle().PidsLimit(200).Script("sleep 0.5 & sleep 1 & sleep 1000 & wait").Write());
        var end = DateTime.UtcNow + duration;
        var surprises = new List<string>();
        var answers = 0;
        var clients = Enumerable.Range(0, Clients).Select(async n =>
        {
            var random = new Random(seed + n);
            while (DateTime.UtcNow < end)
            {
                var id = s_ids[random.Next(s_ids.Length)];
                var (name, outcome) = await ActAsync(random, id, bundles[id]);
                Interlocked.Increment(ref answers);
                // While the supervisor is away or going, calls break off.
                if (!s_documented.Contains(outcome.StatusCode) && !(restarts && outcome.StatusCode is StatusCode.Unavailable or StatusCode.Cancelled or StatusCode.Internal))
                {
                    lock (surprises)
                    {
                        surprises.Add($"{name} {id}: {outcome}");
                    }
                }
            }
        }).ToList();
        while (restarts && DateTime.UtcNow < end)
        {
            await Task.Delay(700);
            await Supervisor.RestartAsync(hard: Random.Shared.Next(2) == 0);
        }

        await Task.WhenAll(clients).WithinAsync(duration + TimeSpan.FromMinutes(1), "the clients' last calls");
        Assert.That(surprises.Take(20), Is.Empty, $"of {answers} answers, {surprises.Count} were undocumented");
        Assert.That(answers, Is.GreaterThan(duration.TotalSeconds * 5), "they did something");

        Assert.That(await Supervisor.DeleteAllAsync(), Is.Empty);
        var newest = (await Supervisor.Control.InfoAsync(new InfoRequest())).NewestSequence;
        await events.WaitForAsync(e => e.Sequence >= newest, Poll.Deadline, "the last event");
        events.AssertOrder();
        var open = events.Events.GroupBy(e => e.ContainerId).Where(container => container.Last() is not { Type: EventType.Deleted, Init: true });
        Assert.That(open.Select(container => container.Key), Is.Empty, "every container's last event is its deletion");
        await Supervisor.AssertNothingLeftAsync();
    }

    private async Task<(string Name, Grpc.Core.Status Outcome)> ActAsync(Random random, string id, Bundle bundle)
    {
        var options = new CallOptions(deadline: DateTime.UtcNow + s_patience);
        try
        {
            var containers = Supervisor.Containers;
            var control = Supervisor.Control;
            return random.Next(16) switch
            {
                0 or 1 => ("create", await Refusal.OutcomeAsync(
                    containers.CreateContainerAsync(new CreateContainerRequest { Id = id, BundlePath = bundle.Path }, options))),
                2 or 3 => ("start", await Refusal.OutcomeAsync(containers.StartContainerAsync(new StartContainerRequest { Id = id }, options))),
                4 => ("pause", await Refusal.OutcomeAsync(containers.PauseContainerAsync(new PauseContainerRequest { Id = id }, options))),
                5 or 6 => ("resume", await Refusal.OutcomeAsync(containers.ResumeContainerAsync(new ResumeContainerRequest { Id = id }, options))),
                7 => ("stats", await Refusal.OutcomeAsync(control.GetStatsAsync(new GetStatsRequest { ContainerId = id }, options))),
                8 => ("list", await Refusal.OutcomeAsync(containers.ListContainersAsync(new ListContainersRequest(), options))),
                9 => ("ps", await Refusal.OutcomeAsync(containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = id }, options))),
                10 => ("update", await Refusal.OutcomeAsync(
                    containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = id, BundlePath = bundle.Path }, options))),
                // Not TERM to all: that may hit the runtime's own process while it adds one, which then fails in its own words.
                11 when random.Next(2) == 0 => ("kill", await Refusal.OutcomeAsync(
                    control.KillAsync(new KillRequest { ContainerId = id, Signal = 9, All = random.Next(2) == 0 }, options))),
                11 => ("term", await Refusal.OutcomeAsync(control.KillAsync(new KillRequest { ContainerId = id, Signal = 15 }, options))),
                12 when random.Next(3) == 0 => ("delete", await Refusal.OutcomeAsync(
                    containers.DeleteContainerAsync(new DeleteContainerRequest { Id = id }, options))),
                _ => ("exec", await Refusal.OutcomeAsync(containers.StartProcessAsync(
                    new StartProcessRequest { ContainerId = id, Process = new Containerd.V1.Process { Args = { "usleep", $"{random.Next(100_000)}" } } }, options))),
            };
        }
        catch (Exception exception) when (exception is InvalidOperationException or ObjectDisposedException)
        {
            // The fixture has no client just now: the supervisor is away.
            await Task.Delay(20);
            return ("away", new Grpc.Core.Status(StatusCode.Unavailable, exception.Message));
        }
    }
}
