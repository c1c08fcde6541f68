using Containerd;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Tasks;

/// <content>Signals. Always by pidfd, never through the runtime, and never in the queue of verbs.</content>
internal sealed partial class Container
{
    private const int MaxKillRounds = 10;

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

            if (managed?.Exit is not null)
            {
                throw TaskException.NotFound($"process {managed.Pid} of container {Id}: process already finished");
            }
        }

        if (managed is null)
        {
            SignalStranger(pid, signal);
        }
        else if (managed.Identity?.Signal(signal) != true)
        {
            throw TaskException.NotFound($"process {managed.Pid} of container {Id}: process already finished");
        }

        if (signal == Libc.SIGKILL && _cgroup is { IsFrozen: true } frozen)
        {
            ReleaseKilled(managed == _init, managed?.Pid ?? pid, frozen);
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

        foreach (var pid in _cgroup?.Processes() ?? [_init.Pid])
        {
            _ = TrySignalMember(pid, signal);
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

    /// <summary>Kills everything in the container's cgroup, again and again until nothing new has been forked meanwhile.</summary>
    private void KillRemaining()
    {
        if (_cgroup is null)
        {
            return;
        }

        for (var round = 0; round < MaxKillRounds; round++)
        {
            var killed = 0;
            foreach (var pid in _cgroup.Processes())
            {
                killed += TrySignalMember(pid, Libc.SIGKILL) ? 1 : 0;
            }

            // A frozen process does not even die.
            _cgroup.Thaw();
            if (killed == 0)
            {
                return;
            }
        }
    }

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
