using Shim.Interop;
using Shim.Loops;
using Shim.Transport;

namespace Shim.Bootstrap;

/// <summary>
/// Gives memory back after work: after a burst of execs a shim would otherwise keep 10 MB that it needs no more. One shot, armed by work:
/// an idle shim has no timer and never wakes up.
/// </summary>
internal sealed class MemoryTrim : IDisposable
{
    private static readonly TimeSpan s_quiet = TimeSpan.FromSeconds(2);

    private readonly ITimer _timer;
    private long _lastWork;
    private int _armed;

    internal MemoryTrim() => _timer = Clock.NewTimer(Elapsed);

    /// <summary>Collects now, and returns free pages to the kernel.</summary>
    internal static void Now()
    {
        SmallBuffers.Clear();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        _ = Libc.MallocTrim(0);
    }

    /// <summary>Something was done: collect once it has been quiet for a while.</summary>
    internal void Worked()
    {
        Volatile.Write(ref _lastWork, Environment.TickCount64);
        if (Interlocked.Exchange(ref _armed, 1) == 0)
        {
            _timer.Set(s_quiet);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _timer.Dispose();

    private void Elapsed()
    {
        var quiet = TimeSpan.FromMilliseconds(Environment.TickCount64 - Volatile.Read(ref _lastWork));
        if (quiet < s_quiet)
        {
            _timer.Set(s_quiet - quiet);
            return;
        }

        // Disarmed before collecting: work that comes meanwhile arms it again.
        Volatile.Write(ref _armed, 0);
        Now();
    }
}
