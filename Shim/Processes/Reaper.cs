using System.Runtime.InteropServices;
using System.Threading.Channels;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Processes;

/// <summary>
/// The one place in this process that waits for children: those that were spawned here, container processes that the runtime
/// left to us as their subreaper, and orphans of containers that share the host's pid namespace.
/// </summary>
/// <remarks>
/// <para>Children are collected (wait4) under the lock, by the main loop, when the kernel has told it of an end (SIGCHLD, which is blocked and read from a
/// descriptor; one signal may stand for many ends). So as long as somebody holds the lock, no child of ours vanishes: a pid that is still our child can be
/// registered or signalled without the danger that it already belongs to another process.</para>
/// <para>A process can end before anyone knows its pid: between posix_spawn and the return to us, or between runc's fork
/// and the pid file. The first cannot be missed, because the spawn holds the lock. For the second there is <see cref="Anticipate"/>:
/// while an anticipation is open, exits that belong to nobody are kept.</para>
/// <para>Exits of claimed processes are handed on in the order in which they were collected, by one task; the loop itself never
/// runs code that could block. The kernel lets the init of a pid namespace end only after all others in it have been collected,
/// so that order already is "execs before init".</para>
/// </remarks>
internal sealed class Reaper
{
    // From the end of somebody else's child until its parent has collected it.
    private static readonly TimeSpan s_collection = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly Dictionary<int, Action<ChildExit>> _claimed = [];
    private readonly Dictionary<int, ChildExit> _early = [];
    private int _anticipations;

    private readonly Channel<(Action<ChildExit> Handler, ChildExit Exit)> _deliveries =
        Channel.CreateUnbounded<(Action<ChildExit>, ChildExit)>(new UnboundedChannelOptions { SingleReader = true });

    private readonly Action<Exception> _handlerFailed;
    private long _collected;

    /// <param name="handlerFailed">Told when a handler of an exit throws: a bug, but no reason to stop delivering.</param>
    internal Reaper(Action<Exception> handlerFailed)
    {
        _handlerFailed = handlerFailed;
        _ = Task.Run(DeliverAsync);
    }

    /// <summary>Children that were collected so far, orphans included.</summary>
    internal long Collected => Volatile.Read(ref _collected);

    /// <summary>Exits that were collected while their owner was not known yet.</summary>
    internal int EarlyExits
    {
        get
        {
            lock (_lock)
            {
                return _early.Count;
            }
        }
    }

    /// <summary>From now on the main loop collects: after each SIGCHLD, and what has ended before.</summary>
    internal void Start()
    {
        Signals.Take(Libc.SIGCHLD, Collect);
        EventLoop.Main.Post(Collect);
    }

    /// <summary>Starts a child of our own.</summary>
    internal Child Spawn(SpawnRequest request)
    {
        var child = new Child(this);
        lock (_lock)
        {
            using var unprotected = OomScore.Drop();
            child.Pid = Spawner.Spawn(request);
            _claimed[child.Pid] = child.Ended;
        }

        return child;
    }

    /// <summary>
    /// Keeps the exits of unknown processes until the result is disposed of. Open one before the runtime can fork, claim with it
    /// once the pid is known.
    /// </summary>
    internal Anticipation Anticipate()
    {
        // The process that is about to come will need a descriptor. Where there is none left it must not be started in the first place.
        var spare = Fd.Open("/dev/null", Libc.O_RDONLY);
        lock (_lock)
        {
            _anticipations++;
        }

        return new Anticipation(this, spare);
    }

    /// <summary>Collects all that have ended.</summary>
    internal unsafe void Collect()
    {
        lock (_lock)
        {
            while (true)
            {
                int status;
                Libc.ResourceUsage usage;
                var pid = Libc.Wait4(-1, &status, Libc.WNOHANG, &usage);
                if (pid <= 0)
                {
                    return;
                }

                _collected++;
                var exit = new ChildExit(pid, ExitStatus.FromWaitStatus(status), true, DateTimeOffset.UtcNow, new ResourceUse(
                    (ulong)((usage.UserSeconds * 1_000_000) + usage.UserMicroseconds),
                    (ulong)((usage.SystemSeconds * 1_000_000) + usage.SystemMicroseconds),
                    (ulong)usage.MaxRssKib));
                if (_claimed.Remove(pid, out var handler))
                {
                    _deliveries.Writer.TryWrite((handler, exit));
                }
                else if (_anticipations > 0)
                {
                    // Overwrites the exit of an older process with the same number, which nobody can ask for any more.
                    _early[pid] = exit;
                }
            }
        }
    }

    // Still our child, running or zombie? Then an early exit under this number was somebody else's.
    private static unsafe bool IsChild(int pid)
    {
        Libc.SigInfo info;
        return Libc.WaitId(Libc.P_PID, (uint)pid, &info, Libc.WEXITED | Libc.WNOHANG | Libc.WNOWAIT) == 0;
    }

    private PidFd? Claim(int pid, Action<ChildExit> handler)
    {
        lock (_lock)
        {
            if (IsChild(pid))
            {
                _early.Remove(pid);
                _claimed[pid] = handler;
                return PidFd.TryOpen(pid);
            }

            if (_early.Remove(pid, out var exit))
            {
                _deliveries.Writer.TryWrite((handler, exit));
                return null;
            }
        }

        return WatchStranger(pid, handler);
    }

    // A runtime that leaves its container to another parent (double fork to a service manager): we can see the end, and the status where the
    // kernel tells others than the parent (since 6.15).
    private PidFd? WatchStranger(int pid, Action<ChildExit> handler)
    {
        var process = PidFd.TryOpen(pid);
        if (process is null)
        {
            _deliveries.Writer.TryWrite((handler, ChildExit.Unknown(pid)));
            return null;
        }

        _ = AwaitStrangerAsync(process, handler);
        return process;
    }

    private async Task AwaitStrangerAsync(PidFd process, Action<ChildExit> handler)
    {
        await EventLoop.Main.WaitReadableAsync(process.Handle, CancellationToken.None).ConfigureAwait(false);
        var exit = await process.EndStatusAsync(s_collection, EventLoop.Main.Clock).ConfigureAwait(false) is { } status
            ? new ChildExit(process.Pid, status, true, DateTimeOffset.UtcNow, default)
            : ChildExit.Unknown(process.Pid);
        _deliveries.Writer.TryWrite((handler, exit));
    }

    private void EndAnticipation()
    {
        lock (_lock)
        {
            if (--_anticipations == 0)
            {
                _early.Clear();
            }
        }
    }

    private async Task DeliverAsync()
    {
        await foreach (var (handler, exit) in _deliveries.Reader.ReadAllAsync())
        {
            try
            {
                handler(exit);
            }
            catch (Exception e)
            {
                _handlerFailed(e);
            }
        }
    }

    /// <summary>While it is open, the exit of a process whose pid is not known yet is kept for the one who will claim it.</summary>
    internal sealed class Anticipation(Reaper reaper, SafeHandle spare) : IDisposable
    {
        private int _ended;

        /// <summary>
        /// Makes <paramref name="handler"/> learn of the exit of <paramref name="pid"/>, exactly once, even if it already happened.
        /// It is called by a task that serves all exits in turn, so it must not wait for anything.
        /// </summary>
        /// <returns>
        /// The process, for signals: opened while it cannot have been collected, so it cannot be another one. Null when it has already
        /// gone. The caller owns it and keeps it at least until the handler was called.
        /// </returns>
        internal PidFd? Claim(int pid, Action<ChildExit> handler)
        {
            spare.Dispose();
            return reaper.Claim(pid, handler);
        }

        /// <summary>Whether the process has been collected already: what /proc says of its pid may be about another one then.</summary>
        internal bool HasCollected(int pid)
        {
            lock (reaper._lock)
            {
                return !IsChild(pid) && reaper._early.ContainsKey(pid);
            }
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            spare.Dispose();
            if (Interlocked.Exchange(ref _ended, 1) == 0)
            {
                reaper.EndAnticipation();
            }
        }
    }

    /// <summary>A process that was spawned here.</summary>
    internal sealed class Child
    {
        private readonly Reaper _reaper;
        private readonly TaskCompletionSource<ChildExit> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);

        internal Child(Reaper reaper) => _reaper = reaper;

        internal int Pid { get; set; }

        /// <summary>Completes when the child has been collected.</summary>
        internal Task<ChildExit> Exit => _exit.Task;

        /// <summary>
        /// Kills the child and its process group, which it must lead. Nothing happens once it has been collected: the number could
        /// belong to others.
        /// </summary>
        internal void KillGroup()
        {
            lock (_reaper._lock)
            {
                if (_reaper._claimed.TryGetValue(Pid, out var handler) && handler.Target == this)
                {
                    _ = Libc.Kill(-Pid, Libc.SIGKILL);
                }
            }
        }

        internal void Ended(ChildExit exit) => _exit.TrySetResult(exit);
    }
}
