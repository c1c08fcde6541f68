using Containerd;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Tasks;

/// <content>Signals. Always by pidfd, never through the runtime, and never in the queue of verbs.</content>
internal sealed partial class Container
{
    /// <summary>
    /// Signals one process of the container; pid 0 is init. It need not have been started through the API, but it must be in this
    /// container now: NotFound otherwise, also when it has ended.
    /// </summary>
    internal void Signal(int pid, int signal)
    {
        CheckSignal(signal);
        ManagedProcess? managed;
        lock (_lock)
        {
            managed = pid == 0 || pid == _init.Pid ? _init : _execs.GetValueOrDefault(pid);
            if (managed == _init && _state == InitState.Deleted)
            {
                throw TaskException.NotFound($"container {Id} is deleted");
            }

            if (_state == InitState.Restorable)
            {
                _ = InitStates.Next(_state, InitEvent.Signal, Id);
            }

            if (managed?.Exit is not null)
            {
                throw TaskException.NotFound($"process {managed.Pid} of container {Id}: process already finished");
            }
        }

        if (managed is not null)
        {
            SignalManaged(managed, signal);
        }
        else if (!HoldWhilePaused(pid, signal))
        {
            SignalStranger(pid, signal);
            ReleaseIfFrozen(false, pid, signal);
        }
    }

    private void SignalManaged(ManagedProcess process, int signal)
    {
        if (HoldWhilePaused(process.Pid, signal))
        {
            return;
        }

        if (process.Identity?.Signal(signal) != true)
        {
            throw TaskException.NotFound($"process {process.Pid} of container {Id}: process already finished");
        }

        ReleaseIfFrozen(process.IsInit, process.Pid, signal);
    }

    private void ReleaseIfFrozen(bool isInit, int pid, int signal)
    {
        if (signal == Libc.SIGKILL && _cgroup is { IsFrozen: true } frozen)
        {
            ReleaseKilled(isInit, pid, frozen);
        }
    }

    /// <summary>Signals every process of the container. FailedPrecondition when it has ended.</summary>
    internal void SignalAll(int signal)
    {
        CheckSignal(signal);
        Require(InitEvent.Signal);
        if (signal == Libc.SIGKILL)
        {
            KillRemaining();
            _ = _init.Identity?.Signal(signal);
            return;
        }

        if (_cgroup is null)
        {
            _ = _init.Identity?.Signal(signal);
            return;
        }

        foreach (var pid in _cgroup.Processes())
        {
            if (IsForming(pid))
            {
                _ = SignalFormedAsync(pid, signal);
            }
            else if (!HoldWhilePaused(pid, signal))
            {
                _ = TrySignalMember(pid, signal);
            }
        }
    }

    /// <summary>
    /// Whether a process is one that an exec is about to add: in the container already, but the runtime's own program still, which a signal
    /// would end, and the exec would fail. Its parent is the runtime, or the shim once that has ended; that of a process which the
    /// container has forked is in the container.
    /// </summary>
    private bool IsForming(int pid)
    {
        lock (_lock)
        {
            if (_execsStarting == 0 || pid == _init.Pid || _execs.ContainsKey(pid))
            {
                return false;
            }
        }

        return ProcFs.AwaitsExec(pid) && ProcFs.Parent(pid) is { } parent && !_cgroup!.Contains(parent);
    }

    /// <summary>A signal for all reaches a process that is being formed when it has become what it is to be.</summary>
    private async Task SignalFormedAsync(int pid, int signal)
    {
        // The number cannot come to mean another process while it is open.
        using var process = PidFd.TryOpen(pid);
        if (process is not null && IsForming(pid))
        {
            await ExecutedAsync(pid).ConfigureAwait(false);
        }

        if (process is not null && _cgroup!.Contains(pid))
        {
            _ = process.Signal(signal);
        }
    }

    private static void CheckSignal(int signal)
    {
        if (signal is < 1 or > 64)
        {
            throw TaskException.Invalid($"there is no signal {signal}: signals are numbered 1 to 64");
        }
    }

    private void SignalStranger(int pid, int signal)
    {
        if (!TrySignalMember(pid, signal))
        {
            throw TaskException.NotFound($"container {Id} has no process {pid}");
        }
    }

    /// <summary>
    /// Signals a process if it is in this container. Opened first, then looked at: once the descriptor is there, the answer of the cgroup
    /// cannot be about another process that got the number later, because if this one had ended the signal would fail.
    /// </summary>
    private bool TrySignalMember(int pid, int signal)
    {
        if (pid <= 0 || _cgroup is null)
        {
            return false;
        }

        using var process = PidFd.TryOpen(pid);
        return process is not null && _cgroup.Contains(pid) && process.Signal(signal);
    }

    /// <summary>Kills everything in the container's cgroup.</summary>
    private void KillRemaining() => _cgroup?.KillAll();

    /// <summary>
    /// SIGKILL works while paused. Without init nothing is left to be paused; any other process is taken out alone, and the rest stay
    /// frozen.
    /// </summary>
    private void ReleaseKilled(bool isInit, int pid, Cgroups.Cgroup frozen)
    {
        if (!isInit)
        {
            frozen.ReleaseFrozen(pid);
            return;
        }

        KillRemaining();
    }
}
