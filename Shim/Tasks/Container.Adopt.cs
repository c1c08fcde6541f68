using Containerd;
using Shim.Cgroups;
using Shim.Processes;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <content>
/// A container that another shim has made and that outlived it. Its processes are not our children, so their exits are learned in another way
/// (<see cref="AdoptedProcess"/>); everything else is as it always is.
/// </content>
internal sealed partial class Container
{
    // Guarded by _lock. Empty unless this container was adopted.
    private readonly Dictionary<int, AdoptedProcess> _adopted = [];

    /// <summary>Takes over the container that the journal tells of. FailedPrecondition when it tells of none, or of another one.</summary>
    internal static async Task<Container> AdoptAsync(ShimServices services, string id, string bundleDirectory, string runtimeName)
    {
        ContainerId.Check(id);
        var history = await History.ReadAsync(services.Journal).ConfigureAwait(false);
        if (history.State is not { } state || state == InitState.Restorable)
        {
            throw TaskException.Precondition($"cannot adopt container {id}: the journal knows of none that was ever made");
        }

        var bundle = Bundle.Load(bundleDirectory);
        var runtime = services.Runtime(runtimeName);
        var past = history.Execs.Prepend(history.Init).ToList();
        var alive = past.Where(process => process.Exit is null).ToDictionary(process => process.Pid, process => AdoptedProcess.Open(process.Pid, process.Trace.StartTime));
        var cgroup = alive.TryGetValue(history.Init.Pid, out var first) && first.Identity is not null ? Cgroup.Of(history.Init.Pid) : null;
        var pids = cgroup?.Processes() ?? [.. alive.Keys];
        var processes = past.ConvertAll(process => Restore(process, alive.GetValueOrDefault(process.Pid), bundle, pids, services, id));
        var container = new Container(services, runtime, id, bundle, processes[0], cgroup);
        await container.TakeOverAsync(history, state, processes, alive).ConfigureAwait(false);
        return container;
    }

    /// <summary>The former parent of an adopted process says how it ended.</summary>
    internal void Collected(int pid, int waitStatus)
    {
        lock (_lock)
        {
            _adopted.GetValueOrDefault(pid)?.Told(waitStatus);
        }
    }

    private static ManagedProcess Restore(
        PastProcess past, AdoptedProcess? alive, Bundle bundle, IReadOnlyList<int> pids, ShimServices services, string id)
    {
        var spec = past.IsInit ? bundle.Process with { Terminal = past.Trace.Streams.Terminal }
            : alive?.Identity is not null && ProcFs.Credentials(past.Pid) is { } user
                ? new ProcessSpec(ProcFs.Arguments(past.Pid), ProcFs.Environment(past.Pid), ProcFs.WorkingDirectory(past.Pid), user.Uid, user.Gid, user.Groups, past.Trace.Streams.Terminal)
            : new ProcessSpec([], [], "", 0, 0, [], past.Trace.Streams.Terminal);
        var trace = alive?.Identity is null ? past.Trace with { Streams = new StreamAddresses("", "", "", false) } : past.Trace;
        var process = new ManagedProcess(past.Pid, past.IsInit, spec, ProcessStreams.Adopt(trace, pids, services.Streams, id))
        {
            CreatedAt = past.CreatedAt,
            StartedAt = past.StartedAt,
            Identity = alive?.Identity,
            Exit = past.Exit,
        };
        if (past.Exit is { } exit)
        {
            process.CompleteExit(exit);
        }

        return process;
    }

    private async Task TakeOverAsync(History history, InitState state, List<ManagedProcess> processes, Dictionary<int, AdoptedProcess> alive)
    {
        if (state is not InitState.Stopped && _init.Identity is { HasExited: false })
        {
            // The other shim may have been lost between the runtime's doing and its own word about it.
            var actual = await _runtime.StatusAsync(Id).ConfigureAwait(false) switch
            {
                "created" => InitState.Created,
                "paused" => InitState.Paused,
                "running" => InitState.Running,
                _ => state,
            };
            lock (_lock)
            {
                Catch_NeedsLock(state, actual);
                state = actual;
            }
        }

        lock (_lock)
        {
            _state = state;
            _initExitPublished = _init.Exit is not null;

            if (!history.HasOom)
            {
                // Kills that nobody has reported yet count with the next exit.
                _oom.ReportAll();
            }

            foreach (var process in processes.Where(process => !process.IsInit))
            {
                _execs[process.Pid] = process;
                _execsRunning += process.Exit is null ? 1 : 0;
            }

            foreach (var (pid, process) in alive)
            {
                _adopted.Add(pid, process);
            }
        }

        if (_bundle.LimitsMemory)
        {
            WatchOom();
        }

        foreach (var process in processes.Where(process => process.Exit is null))
        {
            if (!process.IsInit && process.StartedAt is null)
            {
                // The other shim was lost between the two events that tell of a new process.
                process.StartedAt = DateTimeOffset.UtcNow;
                _ = Append(TaskEventType.Start, process);
            }

            await process.Streams.StartLoggersAsync(CancellationToken.None).ConfigureAwait(false);
            _ = AttendAsync(alive[process.Pid], process.IsInit ? InitEnded : exit => ExecEnded(process, exit));
        }
    }

    /// <summary>The events that the other shim owed.</summary>
    private void Catch_NeedsLock(InitState told, InitState actual)
    {
        if (told == InitState.Created && actual != InitState.Created)
        {
            _init.StartedAt = DateTimeOffset.UtcNow;
            _ = Append(TaskEventType.Start, _init);
        }

        if (told != InitState.Paused && actual == InitState.Paused)
        {
            _ = Append(TaskEventType.Pause, _init);
        }
        else if (told == InitState.Paused && actual == InitState.Running)
        {
            _ = Append(TaskEventType.Resume, _init);
        }
    }

    private async Task AttendAsync(AdoptedProcess process, Action<ChildExit> ended)
    {
        try
        {
            if (process.Identity is { } identity)
            {
                await _services.Streams.Loop.WaitReadableAsync(identity.Handle, CancellationToken.None).ConfigureAwait(false);
            }

            ended(await process.StatusAsync().ConfigureAwait(false));
        }
        catch (Exception e)
        {
            _services.Log.Error($"the end of process {process.Pid} of container {Id} could not be handled: {e}");
        }
    }
}
