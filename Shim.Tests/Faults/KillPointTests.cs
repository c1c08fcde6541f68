using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Faults;

/// <summary>Who is killed.</summary>
public enum Victim
{
    Supervisor,
    Shim,
    Both,
}

/// <summary>
/// "Crash at any instant": the supervisor, the shim or both at once are killed before any of their calls that others could notice, in the course
/// of every verb. A few points each in the normal suite, all of them in the long one.
/// </summary>
public sealed class KillPointTests : SupervisorTests
{
    private const int PointsOfAShortRun = 3;
    private const string Id = "victim";

    private KillPoint _ofSupervisor = null!;
    private KillPoint _ofShim = null!;

    /// <inheritdoc/>
    protected override SupervisorSettings Settings
    {
        get
        {
            Machine.RequireContainers();
            (_ofSupervisor, _ofShim) = (new KillPoint("supervisor"), new KillPoint("shim"));
            return new SupervisorSettings { Environment = _ofSupervisor.Environment, Shim = _ofShim.Wrap(Path.Combine(TestRun.Binaries, "shim")) };
        }
    }

    [OneTimeTearDown]
    public void RemoveLibraries()
    {
        _ofSupervisor.Dispose();
        _ofShim.Dispose();
    }

    [Test]
    public Task Supervisor_KilledOnTheWay([Values(Verb.Create, Verb.Start, Verb.Exec, Verb.Exit, Verb.Delete)] Verb verb) =>
        SweepAsync(verb, Victim.Supervisor, adopts: false, PointsOfAShortRun);

    [Test]
    public Task Shim_KilledOnTheWay([Values(Verb.Create, Verb.Start, Verb.Exec, Verb.Exit, Verb.Delete)] Verb verb, [Values] bool adopts) =>
        SweepAsync(verb, Victim.Shim, adopts, PointsOfAShortRun);

    [Test]
    public Task Both_KilledOnTheWay([Values(Verb.Create, Verb.Exec, Verb.Exit, Verb.Delete)] Verb verb, [Values] bool adopts) =>
        SweepAsync(verb, Victim.Both, adopts, PointsOfAShortRun);

    [Test]
    [Category("Soak")]
    public Task EverybodyEverywhere([Values] Verb verb, [Values] Victim victim, [Values] bool adopts) =>
        SweepAsync(verb, victim, adopts, int.MaxValue);

    /// <summary>And its successor is killed while it cleans up after it.</summary>
    [Test]
    public Task Supervisor_KilledAgainInItsRecovery([Values(Verb.Create, Verb.Exit, Verb.Delete)] Verb verb) => TwiceAsync(verb, 2);

    [Test]
    [Category("Soak")]
    public Task Supervisor_KilledAgainEverywhereInItsRecovery([Values] Verb verb) => TwiceAsync(verb, 60);

    private async Task SweepAsync(Verb verb, Victim victim, bool adopts, int points)
    {
        var before = await NewestAsync();
        await using var events = EventRecorder.After(Supervisor, before);
        var trigger = victim == Victim.Supervisor ? _ofSupervisor : _ofShim;

        // A first run tells how many points there are.
        var (_, count) = await PlayAsync(verb, victim, adopts, number: int.MaxValue);
        Assert.That(count, Is.Positive, "the library is not in the program, or counts nothing");
        var numbers = points >= count
            ? Enumerable.Range(1, count)
            : Enumerable.Range(0, points).Select(i => 1 + ((2 * i + 1) * count / (2 * points)));
        var killed = 0;
        foreach (var number in numbers)
        {
            killed += (await PlayAsync(verb, victim, adopts, number)).Killed ? 1 : 0;
        }

        await TestContext.Out.WriteLineAsync($"{verb}, {victim}: {count} points, {killed} deaths");
        Assert.That(killed, Is.GreaterThan(Math.Min(points, count) / 2), "somebody was killed");
        await AllOfAsync(events, before);
    }

    private async Task TwiceAsync(Verb verb, int times)
    {
        var before = await NewestAsync();
        await using var events = EventRecorder.After(Supervisor, before);
        for (var i = 0; i < times; i++)
        {
            await PlayAsync(verb, Victim.Supervisor, adopts: i % 2 == 0, number: 4 + (7 * i), again: 3 + (5 * i));
        }

        await AllOfAsync(events, before);
    }

    /// <summary>One scene; whether somebody was killed in it, and how many points were passed.</summary>
    private async Task<(bool Killed, int Seen)> PlayAsync(Verb verb, Victim victim, bool adopts, int number, int again = 0)
    {
        var scene = new Scene(Supervisor, Id, verb, adopts);
        await scene.PrepareAsync();
        var trigger = victim == Victim.Supervisor ? _ofSupervisor : _ofShim;
        trigger.Arm(number, victim == Victim.Both ? Supervisor.ProcessId : 0);
        var outcome = await scene.ActAsync();
        var seen = (int)trigger.Disarm();
        var where = $"{verb} of point {number}, before {trigger.Where}; the caller was told {outcome}";
        var killed = trigger.Killed != 0;
        if (killed)
        {
            await Poll.Until(() => !HostProcess.Runs(trigger.Killed), Poll.Deadline, "the death of the killed");
        }

        var supervisorDied = killed && victim != Victim.Shim;
        try
        {
            if (supervisorDied)
            {
                await Supervisor.KillHardAsync();
                await StartAgainAsync(again);
            }

            await scene.ConcludeAsync(outcome, supervisorDied, killed && victim != Victim.Supervisor);
        }
        catch (Exception e) when (e is AssertionException or Grpc.Core.RpcException or InvalidOperationException)
        {
            throw new AssertionException($"{where}\n{e}", e);
        }

        return (killed, seen);
    }

    private async Task StartAgainAsync(int again)
    {
        if (again > 0)
        {
            _ofSupervisor.Arm(again);
            _ = await Supervisor.TryStartAgainAsync();
            _ofSupervisor.Disarm();
            await Supervisor.KillHardAsync();
        }

        await Supervisor.StartAgainAsync();
    }

    private async Task<ulong> NewestAsync() => (await Supervisor.Control.InfoAsync(new Containerd.V1.InfoRequest())).NewestSequence;

    private async Task AllOfAsync(EventRecorder events, ulong before)
    {
        var newest = await NewestAsync();
        await Poll.Until(() => newest == before || events.Events is [.., var last] && last.Sequence >= newest, Poll.Deadline, "all events");
        Scene.CheckEvents(events.Events);
    }
}
