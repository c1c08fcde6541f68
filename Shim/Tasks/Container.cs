using System.Diagnostics.CodeAnalysis;
using Containerd;
using Shim.Cgroups;
using Shim.Loops;
using Shim.Processes;
using Shim.Runtime;

namespace Shim.Tasks;

/// <summary>
/// One container: its init process, the processes that were added to it, and their lives. Knows nothing of who asks over which wire.
/// </summary>
/// <remarks>
/// <para>Verbs that change it go through <see cref="_verbs"/>; reads and signals do not, so they answer while a runtime hangs.
/// State is guarded by <see cref="_lock"/>, which is held for a few instructions at a time, never while anything runs or is written.</para>
/// <para>Order of events is decided under that lock, where the journal only takes a number for them: per process
/// create, start, exit, delete; an OOM before the exit it explains; exits of execs before the exit of init.</para>
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "A token source without a timer holds nothing that needs disposal.")]
internal sealed partial class Container
{
    // A client that deletes nothing must not fill our memory: beyond this the exec that ended first is deleted for him.
    private const int MaxEndedExecs = 4096;

    private static readonly TimeSpan s_turnLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_journalPatience = TimeSpan.FromSeconds(2);

    // From the runtime's failure to the exit of init, if that is what it failed over.
    private static readonly TimeSpan s_failureGrace = TimeSpan.FromMilliseconds(500);

    private readonly ShimServices _services;
    private readonly OciRuntime _runtime;
    private readonly Bundle _bundle;
    private readonly ManagedProcess _init;
    private readonly VerbGate _verbs = new();
    private readonly CancellationTokenSource _abandoned = new();
    private readonly Lock _lock = new();

    // Set once: when there is an init.
    private Cgroup? _cgroup;
    private OomKills _oom;
    private bool _ownPidNamespace;

    // Guarded by _lock.
    private readonly Dictionary<int, ManagedProcess> _execs = [];
    private InitState _state = InitState.Created;
    private int _execsStarting;
    private int _execsRunning;
    private bool _starting;
    private bool _initExitPublished;
    private Task? _deletion;

    private Container(ShimServices services, OciRuntime runtime, string id, Bundle bundle, ManagedProcess init, Cgroup? cgroup)
    {
        _services = services;
        _runtime = runtime;
        _bundle = bundle;
        _init = init;
        _cgroup = cgroup;
        _oom = new OomKills(cgroup);
        _ownPidNamespace = HasOwnPidNamespace(init.Pid);
        Id = id;
    }

    internal string Id { get; }

    private (uint User, uint Group)? StreamOwner { get; init; }

    private bool ExecBeforeStart { get; init; }

    private bool HasRootfs { get; init; }

    // The command line of init while it is the runtime's own program still.
    private string[] WaitingInit { get; init; } = [];

    /// <summary>The bundle's directory, as the creator named it.</summary>
    internal string BundleDirectory => _bundle.Directory;

    /// <summary>Its events.</summary>
    internal Journal Journal => _services.Journal;

    /// <summary>Its cgroup, if it has one of its own.</summary>
    internal Cgroup? Cgroup => _cgroup;

    /// <summary>Host pid of the init process; 0 while it waits to be restored.</summary>
    internal int InitPid => _init.Pid;

    /// <summary>Where it is in its life.</summary>
    internal InitState State
    {
        get
        {
            lock (_lock)
            {
                return _state;
            }
        }
    }

    /// <summary>The exit of a managed process, when it comes. Pid 0 is init.</summary>
    internal async Task<(int Pid, ExitRecord Exit)> WaitAsync(int pid, CancellationToken cancellationToken)
    {
        var process = Find(pid);
        return (process.Pid, await process.Exited.WaitAsync(cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Sets the size of a process's terminal. Pid 0 is init.</summary>
    internal void Resize(int pid, int width, int height) => Resize(FindRunning(pid), width, height);

    private void Resize(ManagedProcess process, int width, int height)
    {
        if (width is < 1 or > ushort.MaxValue || height is < 1 or > ushort.MaxValue)
        {
            throw TaskException.Invalid($"a terminal cannot be {width}x{height}");
        }

        if (!process.Streams.HasTerminal)
        {
            throw TaskException.Precondition($"cannot resize process {process.Pid} of container {Id}: it has no terminal");
        }

        process.Streams.Resize(width, height);
    }

    /// <summary>End of file on a process's stdin. Pid 0 is init. Harmless when it was closed before.</summary>
    internal void CloseStdin(int pid) => Find(pid).Streams.CloseStdin();

    /// <summary>One more client for the streams of a running process. Pid 0 is init.</summary>
    internal Task AttachAsync(int pid, string stdin, string stdout, string stderr) => FindRunning(pid).Streams.AttachAsync(stdin, stdout, stderr);

    /// <summary>Lets go of a client of a process, who leaves on purpose. Pid 0 is init.</summary>
    internal async Task DetachAsync(int pid, string stdout)
    {
        var process = Find(pid);
        if (!await process.Streams.DetachAsync(stdout).ConfigureAwait(false))
        {
            throw TaskException.NotFound($"process {process.Pid} of container {Id} has no client at \"{stdout}\"");
        }
    }

    /// <summary>Applies `linux.resources` of the config.json in <paramref name="bundleDirectory"/>.</summary>
    internal async Task UpdateAsync(string bundleDirectory, CancellationToken cancellationToken)
    {
        var (resources, limitsMemory) = Bundle.ReadResources(bundleDirectory);
        await UpdateAsync(resources, limitsMemory, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Applies the resources of an OCI `linux.resources` object, as JSON.</summary>
    internal Task UpdateResourcesAsync(ReadOnlyMemory<byte> resources, CancellationToken cancellationToken) =>
        UpdateAsync(resources, Bundle.LimitsMemoryOf(resources), cancellationToken);

    private async Task UpdateAsync(ReadOnlyMemory<byte> resources, bool limitsMemory, CancellationToken cancellationToken)
    {
        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, cancellationToken).ConfigureAwait(false);
        Require(InitEvent.Update);
        using var file = Interop.Fd.Memory("resources");
        RandomAccess.Write(file, resources.Span, 0);
        await ConcludeAsync(InitEvent.Update, () => _runtime.RunAsync(RuntimeCommand.Update(Id, OciRuntime.PathOf(file)), _abandoned.Token)).ConfigureAwait(false);
        if (limitsMemory)
        {
            WatchOom();
        }

        await JournaledAsync(Append(TaskEventType.Update, _init)).ConfigureAwait(false);
    }

    /// <summary>Freezes every process of the container.</summary>
    internal Task PauseAsync(CancellationToken cancellationToken) =>
        FreezeAsync(InitEvent.Pause, RuntimeCommand.Pause(Id), TaskEventType.Pause, cancellationToken);

    /// <summary>Undoes <see cref="PauseAsync"/>.</summary>
    internal Task ResumeAsync(CancellationToken cancellationToken) =>
        FreezeAsync(InitEvent.Resume, RuntimeCommand.Resume(Id), TaskEventType.Resume, cancellationToken);

    /// <summary>What the container uses.</summary>
    internal ContainerStats Stats()
    {
        lock (_lock)
        {
            if (_state is InitState.Stopped or InitState.Deleted)
            {
                throw TaskException.Precondition($"container {Id} uses nothing: it is {InitStates.Name(_state)}");
            }
        }

        return _cgroup?.Stats() ?? throw TaskException.Precondition($"container {Id} has no cgroup of its own");
    }

    private async Task FreezeAsync(InitEvent what, RuntimeCommand command, TaskEventType happened, CancellationToken cancellationToken)
    {
        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, cancellationToken).ConfigureAwait(false);
        Require(what);
        try
        {
            await ConcludeAsync(what, () => _runtime.RunAsync(command, _abandoned.Token)).ConfigureAwait(false);
        }
        catch (TaskException) when (what == InitEvent.Pause)
        {
            // Killed half-way it may have frozen some or all: nobody would know why nothing moves any more.
            _cgroup?.Thaw();
            throw;
        }
        catch (TaskException e) when (State == InitState.Paused && _cgroup is { IsFrozen: false })
        {
            // It was killed after it had done it. Asked again it would refuse, and the container would be paused for ever.
            _services.Log.Error($"the runtime failed, but container {Id} goes on: {e.Message}");
        }

        Task journaled;
        (Processes.PidFd, int)[] held;
        lock (_lock)
        {
            // It may have ended while the runtime worked.
            _state = InitStates.Next(_state, what, Id);
            journaled = Append(happened, _init);
            held = TakeHeldSignals_NeedsLock();
        }

        Send(held);

        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    private async Task ConcludeAsync(InitEvent what, Func<Task> act) => _ = await ConcludeAsync(what, async () =>
    {
        await act().ConfigureAwait(false);
        return true;
    }).ConfigureAwait(false);

    /// <summary>
    /// Lets the runtime do something. Over a container that ends under its hands a runtime stumbles in ever other words: that is a failed
    /// precondition, whatever it says.
    /// </summary>
    private async Task<T> ConcludeAsync<T>(InitEvent what, Func<Task<T>> act)
    {
        try
        {
            return await act().ConfigureAwait(false);
        }
        catch (TaskException e) when (e.Kind != ErrorKind.Precondition)
        {
            // A pid namespace kills the runtime's own process in it some time before its init counts as ended.
            if (e.Kind == ErrorKind.RuntimeFailed || _init.Identity is not { HasExited: false })
            {
                await UntilInitExitPublishedAsync(s_failureGrace).ConfigureAwait(false);
            }

            if (State is InitState.Stopped or InitState.Deleted)
            {
                Require(what);
            }

            throw;
        }
    }

    private void Require(InitEvent what)
    {
        lock (_lock)
        {
            _ = InitStates.Next(_state, what, Id);
        }
    }

    private static bool HasOwnPidNamespace(int pid) =>
        ProcFs.Namespace(pid, "pid") is { } theirs && theirs != ProcFs.Namespace(Environment.ProcessId, "pid");

    private ManagedProcess Find(int pid)
    {
        lock (_lock)
        {
            return pid == 0 || pid == _init.Pid ? _init
                : _execs.GetValueOrDefault(pid) ?? throw TaskException.NotFound($"container {Id} has no process {pid} that was started through the API");
        }
    }

    private ManagedProcess FindRunning(int pid)
    {
        var process = Find(pid);
        lock (_lock)
        {
            return process.Exit is null ? process : throw TaskException.Precondition($"process {process.Pid} of container {Id} has ended");
        }
    }

    private Task Append(TaskEventType type, ManagedProcess process, ExitRecord? exit = null, bool appears = false) =>
        _services.Journal.Append(new TaskEvent(type, Id, process.Pid, process.IsInit, exit)
        {
            // Who finds the journal without its shim needs more than a number to find the process.
            Trace = appears || type is TaskEventType.Create or TaskEventType.ExecAdded ? process.Streams.TraceOf(process.Pid) : null,
            ExecId = process.ExecId,
        });

    /// <summary>
    /// Waits until an event is on disk, so that no caller hears of a success that a crash could undo. Bounded: when the disk is full the
    /// event stays queued, and work goes on.
    /// </summary>
    private static async Task JournaledAsync(Task journaled)
    {
        try
        {
            await journaled.WithinAsync(s_journalPatience).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // The journal has said so in the log and goes on trying.
        }
    }
}
