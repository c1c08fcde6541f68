using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Faults;

/// <summary>What is under way when somebody dies.</summary>
public enum Verb
{
    Create,
    Start,
    Exec,
    Pause,
    Resume,

    /// <summary>A signal that init ends of.</summary>
    Signal,

    /// <summary>An exec ends, and then init, without anybody asking.</summary>
    Exit,
    Delete,
}

/// <summary>
/// One container and one verb, over which a supervisor, a shim, both or a runtime may die; and what must be true afterwards, whoever died and
/// whenever: the container is there and works, or it is gone altogether, and the events tell the truth.
/// </summary>
public sealed class Scene
{
    // As an exit status: never that of a process that nobody has killed.
    private const uint InitStatus = 42;
    private const uint ExecStatus = 7;
    private const uint Unknown = 255;
    private const uint Killed = 137;

    private static readonly TimeSpan s_callLimit = TimeSpan.FromSeconds(40);
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(15);

    private readonly SupervisorFixture _supervisor;
    private readonly Verb _verb;
    private readonly bool _adopts;
    private readonly Bundle _bundle;
    private readonly string _directory;
    private bool _shimDied;

    /// <param name="supervisor">Who is asked.</param>
    /// <param name="id">The container's id, the same in every scene: it must be free again after each.</param>
    /// <param name="verb">What is to be under way.</param>
    /// <param name="adopts">Whether the container outlives its shim.</param>
    public Scene(SupervisorFixture supervisor, string id, Verb verb, bool adopts)
    {
        (_supervisor, Id, _verb, _adopts, _directory) = (supervisor, id, verb, adopts, supervisor.NewDirectory());
        _bundle = supervisor.NewBundle().Annotation("containerd.io/on-shim-loss", adopts ? "adopt" : "kill").Bind(_directory)
            .Script($"trap 'exit {InitStatus}' TERM; while [ ! -e /host/end ]; do usleep 20000; done; exit {InitStatus}").Write();
    }

    /// <summary>The container's id.</summary>
    public string Id { get; }

    /// <summary>Brings the container into the state in which the verb is possible.</summary>
    public async Task PrepareAsync()
    {
        if (_verb == Verb.Create)
        {
            return;
        }

        await _supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = Id, BundlePath = _bundle.Path });
        if (_verb == Verb.Start)
        {
            return;
        }

        await _supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = Id });
        if (_verb == Verb.Resume)
        {
            await _supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = Id });
        }
        else if (_verb is Verb.Exit or Verb.Delete)
        {
            await _supervisor.Containers.StartProcessAsync(Exec($"while [ ! -e /host/exec ]; do usleep 20000; done; exit {ExecStatus}"));
        }
    }

    /// <summary>The pid of the container's shim; 0 when there is none yet.</summary>
    public async Task<int> ShimAsync() => _verb == Verb.Create ? 0 : (int)(await DetailsAsync()).Shim.Pid;

    /// <summary>Does it. Whatever comes of it is an outcome.</summary>
    public async Task<Grpc.Core.Status> ActAsync()
    {
        var options = new CallOptions(deadline: DateTime.UtcNow + s_callLimit);
        var containers = _supervisor.Containers;
        switch (_verb)
        {
            case Verb.Create:
                return await Refusal.OutcomeAsync(containers.CreateContainerAsync(new CreateContainerRequest { Id = Id, BundlePath = _bundle.Path }, options));
            case Verb.Start:
                return await Refusal.OutcomeAsync(containers.StartContainerAsync(new StartContainerRequest { Id = Id }, options));
            case Verb.Exec:
                return await Refusal.OutcomeAsync(containers.StartProcessAsync(Exec($"exit {ExecStatus}"), options));
            case Verb.Pause:
                return await Refusal.OutcomeAsync(containers.PauseContainerAsync(new PauseContainerRequest { Id = Id }, options));
            case Verb.Resume:
                return await Refusal.OutcomeAsync(containers.ResumeContainerAsync(new ResumeContainerRequest { Id = Id }, options));
            case Verb.Signal:
                return await Refusal.OutcomeAsync(_supervisor.Control.KillAsync(new KillRequest { ContainerId = Id, Signal = 15 }, options));
            case Verb.Delete:
                return await Refusal.OutcomeAsync(containers.DeleteContainerAsync(new DeleteContainerRequest { Id = Id }, options));
            default:
                await File.WriteAllTextAsync(Path.Combine(_directory, "exec"), "");
                await Task.Delay(60);
                await File.WriteAllTextAsync(Path.Combine(_directory, "end"), "");
                return await Refusal.OutcomeAsync(_supervisor.Control.WaitAsync(new WaitRequest { ContainerId = Id }, options));
        }
    }

    /// <summary>
    /// Checks everything, and removes the container.
    /// </summary>
    /// <param name="outcome">What the verb's caller was told.</param>
    /// <param name="supervisorDied">Whether the supervisor was killed; it has been started again.</param>
    /// <param name="shimDied">Whether the shim was killed.</param>
    public async Task ConcludeAsync(Grpc.Core.Status outcome, bool supervisorDied, bool shimDied)
    {
        _shimDied = shimDied;
        var there = await IsThereAsync();
        if (_verb is not (Verb.Create or Verb.Delete))
        {
            Assert.That(there, Is.True, "a container that nobody has deleted is gone");
        }
        else if (outcome.StatusCode == StatusCode.OK)
        {
            Assert.That(there, Is.EqualTo(_verb == Verb.Create), $"there, after a successful {_verb}");
        }
        else if (_verb == Verb.Create && !supervisorDied)
        {
            Assert.That(there, Is.False, $"there, after a creation that failed: {outcome}");
        }
        else if (_verb == Verb.Delete && !supervisorDied && !shimDied)
        {
            // Its caller was told of a failure of the runtime, and asks again.
            Assert.That((await ActAsync()).StatusCode, Is.EqualTo(StatusCode.OK));
            there = false;
        }
        else if (_verb == Verb.Delete && IsDeleting())
        {
            // It was wanted and written down, so it happens, whoever dies over it.
            await Poll.Until(async () => !await IsThereAsync(), s_soon, "the deletion goes on");
            there = false;
        }

        if (there)
        {
            await LiveOnAsync(signalled: outcome.StatusCode == StatusCode.OK);
            using var deletion = _supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = Id });
            Assert.That((await Refusal.OutcomeAsync(deletion)).StatusCode, Is.EqualTo(StatusCode.OK));
        }

        await Poll.For(() => Leaks.Find(_supervisor.Root, _supervisor.CgroupPrefix, _supervisor.ProcessId), left => left.Count == 0, s_soon, "nothing left");
        await Poll.Until(() => !Directory.Exists(Path.Combine(_supervisor.Root, "c", Id)), s_soon, "the files are gone");
        Assert.That(Directory.EnumerateFileSystemEntries(_supervisor.RuntimeRoot), Is.Empty, "the runtime's state");
    }

    /// <summary>Checks what was told, of all scenes so far.</summary>
    public static void CheckEvents(IReadOnlyList<Event> events)
    {
        EventRules.Check(events);
        var created = events.Count(e => e.Type == EventType.Created);
        Assert.That(events.Count(e => e is { Type: EventType.Exited, Init: true }), Is.EqualTo(created), "exits of inits, for each creation one");
        Assert.That(events.Count(e => e is { Type: EventType.Deleted, Init: true }), Is.EqualTo(created), "deletions, for each creation one");
        Assert.That(
            events.Count(e => e is { Type: EventType.Exited, Init: false }), Is.EqualTo(events.Count(e => e is { Type: EventType.Started, Init: false })),
            "exits of execs, for each start one");
        foreach (var e in events.Where(e => e.Type == EventType.Exited))
        {
            // An exec is ended by its container's end too.
            Assert.That(e.Exit.Status, Is.AnyOf(e.Init ? InitStatus : ExecStatus, Killed, Unknown), EventRules.Describe(e));
            Assert.That(e.Exit.Reason, e.Exit.Status == Unknown ? Is.EqualTo(ExitReason.Unknown) : Is.Not.EqualTo(ExitReason.Unknown), EventRules.Describe(e));
        }
    }

    /// <summary>A container that is there either works as if nothing had been, or has ended because it was to end with its shim.</summary>
    private async Task LiveOnAsync(bool signalled)
    {
        if (_shimDied && !_adopts)
        {
            // Unless the shim that died was that of a creation which was undone and done again.
            var exit = await WaitAsync();
            Assert.That(exit.Status, Is.AnyOf(Killed, InitStatus, Unknown));
            await Poll.Until(async () => (await DetailsAsync()).Status == Status.Stopped, s_soon, "a container without a shim is stopped");
            return;
        }

        if (_verb is Verb.Exit or Verb.Signal && (await DetailsAsync()).Status == Status.Stopped)
        {
            // With its shim or without: nothing is left to be adopted.
            Assert.That((await WaitAsync()).Status, Is.EqualTo(InitStatus).Or.EqualTo(_shimDied ? Unknown : InitStatus));
            return;
        }

        await Poll.For(
            DetailsAsync, details => details.Shim.Trouble.Length == 0 && HostProcess.Runs((int)details.Shim.Pid), s_soon, "a shim that answers");
        if (_verb == Verb.Exit || (_verb == Verb.Signal && (signalled || await EndsSoonAsync())))
        {
            Assert.That((await WaitAsync()).Status, Is.EqualTo(InitStatus).Or.EqualTo(_shimDied ? Unknown : InitStatus));
            return;
        }

        var status = (await DetailsAsync()).Status;
        if (status == Status.Created)
        {
            Assert.That(_verb, Is.AnyOf(Verb.Create, Verb.Start));
            await _supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = Id });
        }
        else if (status == Status.Paused)
        {
            Assert.That(_verb, Is.AnyOf(Verb.Pause, Verb.Resume));
            await _supervisor.Containers.ResumeContainerAsync(new ResumeContainerRequest { Id = Id });
        }

        var exec = (await _supervisor.Containers.StartProcessAsync(Exec($"exit {ExecStatus}"))).Process.Pid;
        Assert.That((await WaitAsync(exec)).Status, Is.EqualTo(ExecStatus));
        await File.WriteAllTextAsync(Path.Combine(_directory, "end"), "");
        Assert.That((await WaitAsync()).Status, Is.EqualTo(InitStatus), "its true status");
    }

    /// <summary>Whether a signal was delivered although its sender was told of a failure.</summary>
    private async Task<bool> EndsSoonAsync()
    {
        for (var end = Environment.TickCount64 + 1000; Environment.TickCount64 < end; await Task.Delay(20))
        {
            if ((await DetailsAsync()).Status == Status.Stopped)
            {
                return true;
            }
        }

        return false;
    }

    private bool IsDeleting()
    {
        try
        {
            return File.ReadAllText(Path.Combine(_supervisor.Root, "c", Id, "container.json")).Contains("\"deleting\": true", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return true;
        }
    }

    private async Task<bool> IsThereAsync()
    {
        using var call = _supervisor.Containers.GetContainerAsync(new GetContainerRequest { Id = Id });
        var outcome = await Refusal.OutcomeAsync(call);
        Assert.That(outcome.StatusCode, Is.AnyOf(StatusCode.OK, StatusCode.NotFound), outcome.Detail);
        return outcome.StatusCode == StatusCode.OK;
    }

    private async Task<ContainerDetails> DetailsAsync() =>
        (await _supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { Id }, NoProcesses = true })).Containers.Single();

    private async Task<Exit> WaitAsync(uint pid = 0) =>
        (await _supervisor.Control.WaitAsync(new WaitRequest { ContainerId = Id, Pid = pid }, new CallOptions(deadline: DateTime.UtcNow + s_soon))).Exit;

    private StartProcessRequest Exec(string script) => new() { ContainerId = Id, Process = new Process { Args = { "sh", "-c", script } } };
}
