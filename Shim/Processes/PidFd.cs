using Shim.Interop;

namespace Shim.Processes;

/// <summary>
/// One process, identified so that a recycled pid can never be mistaken for it. A pid alone is only a hint:
/// between reading a pid somewhere and using it, the process can end and its number can be given to another.
/// </summary>
internal sealed class PidFd : IDisposable
{
    // How often it is looked whether a parent has collected its child.
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(5);

    private readonly SafePidFd _handle;

    private PidFd(int pid, SafePidFd handle)
    {
        Pid = pid;
        _handle = handle;
    }

    /// <summary>The number that the process has, or had.</summary>
    internal int Pid { get; }

    /// <summary>The descriptor; it polls readable once the process has ended.</summary>
    internal SafePidFd Handle => _handle;

    /// <summary>
    /// Opens the process that has <paramref name="pid"/> now, or null when there is none. Whoever needs to know that it is the
    /// process he means checks that after the open: from then on the identity cannot change.
    /// </summary>
    internal static PidFd? TryOpen(int pid)
    {
        try
        {
            return new PidFd(pid, Libc.PidFdOpen(pid));
        }
        catch (NativeException e) when (e.Number is Errno.ESRCH or Errno.EINVAL or Errno.ENOENT)
        {
            // EINVAL: the number of a thread that is no process, or no number of a process at all; newer kernels say ENOENT for the thread.
            return null;
        }
    }

    /// <summary>Sends <paramref name="signal"/>; false when the process has ended.</summary>
    internal bool Signal(int signal) => Libc.PidFdSendSignal(_handle, signal);

    /// <summary>
    /// How it ended, after its end was seen, where the kernel tells others than the parent: while it waits for its parent to collect it, and (Linux 6.15
    /// and later) afterwards.
    /// </summary>
    internal ExitStatus? EndStatus
    {
        get
        {
            // In this order: if it can still be signalled afterwards, it was not collected yet, and what /proc says of the number was said of it.
            var status = ProcFs.ZombieStatus(Pid) is { } zombie && Signal(0) ? zombie : Libc.WaitStatusOf(_handle);
            return status is { } known ? ExitStatus.FromWaitStatus(known) : null;
        }
    }

    /// <summary><see cref="EndStatus"/>, which may take its parent a moment; null when it is not known within <paramref name="limit"/>.</summary>
    internal async Task<ExitStatus?> EndStatusAsync(TimeSpan limit, TimeProvider clock)
    {
        for (var end = Environment.TickCount64 + (long)limit.TotalMilliseconds; ; await Task.Delay(s_interval, clock, CancellationToken.None).ConfigureAwait(false))
        {
            var status = EndStatus;
            if (status is not null || Environment.TickCount64 >= end)
            {
                return status;
            }
        }
    }

    /// <summary>Whether the process has ended (it may still be a zombie).</summary>
    internal bool HasExited => WaitForExit(0);

    /// <summary>Blocks until the process has ended or the time is over. For threads that may block; servers use an event loop.</summary>
    internal unsafe bool WaitForExit(int timeoutMilliseconds)
    {
        var deadline = Environment.TickCount64 + timeoutMilliseconds;
        while (true)
        {
            var left = (int)Math.Max(0, deadline - Environment.TickCount64);
            var poll = new Libc.PollFd { Descriptor = Fd.Number(_handle), Events = Libc.POLLIN };
            var ready = Libc.Poll(&poll, 1, left);
            if (ready != -1 || Errno.Last != Errno.EINTR)
            {
                return ready > 0;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}
