using Shim.Interop;
using Shim.Processes;

namespace Shim.Tasks;

/// <content>
/// Signals for a paused container wait until it is resumed. The freezer of cgroup v1 does that by itself; that of v2 keeps those that
/// a process handles, but ends a frozen process at once when a signal's default action is to end it. So with v2 they wait here.
/// </content>
internal sealed partial class Container
{
    // Beyond that they are lost, as real-time signals are when the kernel's queue is full.
    private const int MaxHeldSignals = 4096;
    private const int FirstQueuedSignal = 32;

    // In the order in which they came. Guarded by _lock.
    private readonly List<(PidFd Process, int Signal)> _heldSignals = [];

    /// <summary>Keeps a signal for the resumption. False when it is to be sent now, or the process is not one of this container.</summary>
    private bool HoldWhilePaused(int pid, int signal)
    {
        if (signal == Libc.SIGKILL || _cgroup is not { Version: 2 } || State != InitState.Paused || PidFd.TryOpen(pid) is not { } process)
        {
            return false;
        }

        // Opened first, as always. A frozen container forks nothing, so none of its own processes can have got the number either.
        var isOurs = _cgroup.Contains(pid) && !process.HasExited;
        bool holds, keeps;
        lock (_lock)
        {
            holds = isOurs && _state == InitState.Paused;

            // As in the kernel: most signals are pending or not, and only the real-time ones are counted.
            keeps = holds && _heldSignals.Count < MaxHeldSignals
                && (signal >= FirstQueuedSignal || !_heldSignals.Exists(held => held.Process.Pid == pid && held.Signal == signal));
            if (keeps)
            {
                _heldSignals.Add((process, signal));
            }
        }

        if (!keeps)
        {
            process.Dispose();
        }

        return holds;
    }

    private (PidFd Process, int Signal)[] TakeHeldSignals_NeedsLock()
    {
        (PidFd, int)[] held = [.. _heldSignals];
        _heldSignals.Clear();
        return held;
    }

    private void DropHeldSignals()
    {
        lock (_lock)
        {
            foreach (var (process, _) in TakeHeldSignals_NeedsLock())
            {
                process.Dispose();
            }
        }
    }

    private static void Send((PidFd Process, int Signal)[] held)
    {
        foreach (var (process, signal) in held)
        {
            using (process)
            {
                _ = process.Signal(signal);
            }
        }
    }
}
