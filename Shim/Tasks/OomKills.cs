using Shim.Cgroups;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;

namespace Shim.Tasks;

/// <summary>The OOM kills of a container: how many there were, how many have been told of, and which exit they explain.</summary>
/// <param name="cgroup">Counts them; null when the container has no cgroup of its own.</param>
internal sealed class OomKills(Cgroup? cgroup) : IDisposable
{
    // From a kill that was noticed until its victim, if it is a process of ours, has been collected. A SIGKILL after that is somebody else's.
    private static readonly TimeSpan s_victimLimit = TimeSpan.FromSeconds(2);

    // The kernel says that a cgroup is at its limit a moment before it kills: how often, and at which distance, the count is looked at then.
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20);
    private const int MaxLooks = 50;

    private readonly Lock _lock = new();
    private ulong _known = cgroup?.OomKills() ?? 0;
    private ulong _unclaimed;
    private long _noticed;
    private OomSignal? _signal;
    private EventLoop.Registration? _registration;
    private EventLoop.Watch? _watch;
    private bool _disposed;

    /// <summary>Nothing has been told of yet, not even what was counted before this object was made.</summary>
    internal void ReportAll()
    {
        lock (_lock)
        {
            _known = 0;
        }
    }

    /// <summary>Whether there were more since the last call.</summary>
    internal bool HasMore()
    {
        lock (_lock)
        {
            var kills = cgroup?.OomKills() ?? 0;
            if (kills <= _known)
            {
                return false;
            }

            _unclaimed = kills - _known;
            _known = kills;
            _noticed = Environment.TickCount64;
            return true;
        }
    }

    /// <summary>Whether an exit is that of a victim. Each kill explains one exit.</summary>
    internal bool Claim(ChildExit exit)
    {
        lock (_lock)
        {
            if (exit.Status.Signal != Libc.SIGKILL || _unclaimed == 0 || Environment.TickCount64 - _noticed > s_victimLimit.TotalMilliseconds)
            {
                return false;
            }

            _unclaimed--;
            return true;
        }
    }

    /// <summary>
    /// Calls <paramref name="changed"/> when there may be more. Does nothing when that is so already, or cannot be had; throws when the kernel has
    /// no room for one more watch.
    /// </summary>
    internal void Watch(EventLoop loop, Action changed)
    {
        lock (_lock)
        {
            if (_signal is not null || _disposed || cgroup?.WatchOom() is not { } signal)
            {
                return;
            }

            try
            {
                if (signal.Event is { } handle)
                {
                    _registration = loop.Register(handle, Libc.EPOLLIN, _ => Task.Run(() => LookAsync(changed)));
                }
                else
                {
                    _watch = loop.AddWatch(signal.File!, Libc.IN_MODIFY, changed);
                }

                _signal = signal;
            }
            catch
            {
                signal.Event?.Dispose();
                throw;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _registration?.Dispose();
            _watch?.Dispose();
            _signal?.Event?.Dispose();
        }
    }

    private async Task LookAsync(Action changed)
    {
        var before = Known();
        for (var look = 0; look < MaxLooks && !_disposed; look++)
        {
            changed();
            if (Known() != before)
            {
                return;
            }

            await Clock.DelayAsync(s_look).ConfigureAwait(false);
        }
    }

    private ulong Known()
    {
        lock (_lock)
        {
            return _known;
        }
    }
}
