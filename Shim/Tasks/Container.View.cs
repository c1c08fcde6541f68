using Containerd;
using Shim.Processes;
using Shim.Runtime;

namespace Shim.Tasks;

/// <summary>A process of a container, as seen at one moment.</summary>
/// <param name="Pid">Host pid.</param>
/// <param name="IsInit">The container's first process.</param>
/// <param name="Managed">Started through the API; otherwise found in the container's cgroup.</param>
/// <param name="State">Its state in the container's words.</param>
/// <param name="Spec">What it runs.</param>
internal sealed record ProcessView(int Pid, bool IsInit, bool Managed, InitState State, ProcessSpec Spec)
{
    internal ExitRecord? Exit { get; init; }

    internal DateTimeOffset? CreatedAt { get; init; }

    internal DateTimeOffset? StartedAt { get; init; }
}

/// <content>What can be seen. Reads take the lock for a moment and wait for nothing.</content>
internal sealed partial class Container
{
    /// <summary>The processes that were started through the API, init first.</summary>
    internal IReadOnlyList<ProcessView> Managed()
    {
        lock (_lock)
        {
            return _state == InitState.Deleted ? [] : [View_NeedsLock(_init), .. _execs.Values.OrderBy(process => process.CreatedAt).Select(View_NeedsLock)];
        }
    }

    /// <summary>Host pids of everything in the container; empty when it has ended.</summary>
    internal IReadOnlyList<int> Pids() => _cgroup?.Processes() ?? (State is InitState.Stopped or InitState.Restorable ? [] : [_init.Pid]);

    /// <summary>As <see cref="Managed"/>, and after them every other process in the container, as the kernel describes it.</summary>
    internal IReadOnlyList<ProcessView> Processes()
    {
        var managed = Managed();
        var known = managed.Where(process => process.Exit is null).Select(process => process.Pid).ToHashSet();
        return [.. managed, .. (_cgroup?.Processes() ?? []).Where(pid => !known.Contains(pid)).Order().Select(Stranger).OfType<ProcessView>()];
    }

    /// <summary>One process of the container, managed or not.</summary>
    internal ProcessView Process(int pid) =>
        Managed().FirstOrDefault(process => process.Pid == pid)
        ?? (_cgroup?.Contains(pid) == true ? Stranger(pid) : null)
        ?? throw TaskException.NotFound($"container {Id} has no process {pid}");

    /// <summary>The view of a process that <see cref="ExecAsync"/> has just returned.</summary>
    internal ProcessView View(ManagedProcess process)
    {
        lock (_lock)
        {
            return View_NeedsLock(process);
        }
    }

    private ProcessView View_NeedsLock(ManagedProcess process)
    {
        var state = process.IsInit ? _state
            : process.Exit is not null ? InitState.Stopped
            : _state == InitState.Paused ? InitState.Paused : InitState.Running;
        return new ProcessView(process.Pid, process.IsInit, true, state, process.Spec)
        {
            Exit = process.Exit,
            CreatedAt = process.CreatedAt,
            StartedAt = process.StartedAt,
        };
    }

    private ProcessView? Stranger(int pid)
    {
        // Gone since it was listed.
        if (ProcFs.Credentials(pid) is not { } user)
        {
            return null;
        }

        var state = State == InitState.Paused ? InitState.Paused : InitState.Running;
        return new ProcessView(pid, false, false, state, new ProcessSpec(
            ProcFs.Arguments(pid), ProcFs.Environment(pid), ProcFs.WorkingDirectory(pid), user.Uid, user.Gid, user.Groups, ProcFs.HasTerminal(pid)));
    }
}
