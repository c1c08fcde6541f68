using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Processes;

namespace Supervisor.Shims;

/// <summary>
/// One thread that sleeps until a watched process ends: shims, whether we are their parent or a former supervisor was, and the
/// runtime when we run it. No timers, no polling; the thread runs nobody else's code.
/// </summary>
internal sealed class ProcessWatcher : IDisposable
{
    private const long WakeUp = 0;

    private readonly Lock _lock = new();

    // Held from the birth of a child until it is watched.
    private readonly Lock _children = new();
    private readonly Dictionary<long, Watch> _watches = [];
    private readonly Epoll _epoll = new();
    private readonly SafeFileHandle _wake;
    private readonly Thread _thread;
    private long _lastKey;
    private volatile bool _stopping;

    /// <summary>Starts the thread.</summary>
    internal ProcessWatcher()
    {
        _wake = Fd.Own(Libc.EventFd(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK), "eventfd");
        _epoll.Add(_wake, Libc.EPOLLIN, WakeUp);
        _thread = new Thread(Run, 128 * 1024) { IsBackground = true, Name = "process watcher" };
        _thread.Start();
    }

    /// <summary>
    /// Completes when the process has ended: with its status if it was our child (it is reaped then), else with null.
    /// The caller keeps <paramref name="process"/> open until then.
    /// </summary>
    internal Task<ExitStatus?> WatchAsync(PidFd process)
    {
        var watch = new Watch(process, new TaskCompletionSource<ExitStatus?>(TaskCreationOptions.RunContinuationsAsynchronously));
        long key;
        lock (_lock)
        {
            key = ++_lastKey;
            _watches.Add(key, watch);
        }

        try
        {
            _epoll.Add(process.Handle, Libc.EPOLLIN, key);
        }
        catch
        {
            lock (_lock)
            {
                _watches.Remove(key);
            }

            throw;
        }

        return watch.Ended.Task;
    }

    /// <summary>
    /// Starts a child and watches it, in one step for <see cref="CollectStrays"/>. Null when somebody else has collected it already, which nobody
    /// should.
    /// </summary>
    internal (PidFd Process, Task<ExitStatus?> Ended)? Spawn(SpawnRequest request)
    {
        // For the pidfd: a child that nobody can watch must not be started.
        using var spare = Fd.Open("/dev/null", Libc.O_RDONLY);
        lock (_children)
        {
            var pid = Spawner.Spawn(request);
            try
            {
                spare.Dispose();
                return PidFd.TryOpen(pid) is { } process ? (process, WatchAsync(process)) : null;
            }
            catch (NativeException)
            {
                // Somebody was faster with the descriptor. Nobody but us can have collected the child, so the number is still its own.
                _ = Libc.Kill(pid, Libc.SIGKILL);
                Reap(pid);
                throw;
            }
        }
    }

    private static unsafe void Reap(int pid)
    {
        int status;
        Libc.ResourceUsage usage;
        _ = Libc.Wait4(pid, &status, 0, &usage);
    }

    /// <summary>
    /// Collects, whenever they end, all children that nobody watches: a subreaper inherits what a lost shim leaves behind, and nobody else would
    /// ever release their pids. To be called after a loss.
    /// </summary>
    internal void CollectStrays()
    {
        lock (_children)
        {
            HashSet<int> watched;
            lock (_lock)
            {
                watched = [.. _watches.Values.Select(watch => watch.Process.Pid)];
            }

            foreach (var directory in Directory.EnumerateDirectories("/proc"))
            {
                if (int.TryParse(Path.GetFileName(directory.AsSpan()), CultureInfo.InvariantCulture, out var pid)
                    && !watched.Contains(pid) && ProcFs.Parent(pid) == Environment.ProcessId && PidFd.TryOpen(pid) is { } stray)
                {
                    _ = CollectAsync(stray);
                }
            }
        }
    }

    private async Task CollectAsync(PidFd stray)
    {
        using (stray)
        {
            await WatchAsync(stray).ConfigureAwait(false);
        }

        // What it leaves behind comes to us too.
        CollectStrays();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping = true;
        Fd.WriteAll(_wake, BitConverter.GetBytes(1L));
        _thread.Join(TimeSpan.FromSeconds(1));
        _epoll.Dispose();
        _wake.Dispose();
    }

    private void Run()
    {
        const int Batch = 64;
        var events = new Libc.EpollEvent[Batch];
        while (!_stopping)
        {
            var count = _epoll.Wait(events);
            for (var i = 0; i < count; i++)
            {
                if (events[i].Data != WakeUp)
                {
                    Finish(events[i].Data);
                }
            }
        }
    }

    private void Finish(long key)
    {
        Watch? watch;
        lock (_lock)
        {
            if (!_watches.Remove(key, out watch))
            {
                return;
            }
        }

        try
        {
            _epoll.Remove(watch.Process.Handle);
            var status = Reap(watch.Process);
            watch.Ended.TrySetResult(status);
            if (status is not null)
            {
                Share(watch.Process.Pid, status);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            watch.Ended.TrySetException(e);
        }
    }

    /// <summary>
    /// Only one can collect a process, but an orphan may have several watches, of each loss of its shim one: they get the same answer. A watch
    /// whose process has exited and had this number is one of them: a new process of that number would still be running.
    /// </summary>
    private void Share(int pid, ExitStatus? status)
    {
        List<Watch> others;
        lock (_lock)
        {
            others = [.. _watches.Values.Where(watch => watch.Process.Pid == pid && watch.Process.HasExited)];
        }

        others.ForEach(other => other.Ended.TrySetResult(status));
    }

    private static ExitStatus? Reap(PidFd process)
    {
        const int Exited = 1;
        const int Dumped = 3;
        if (!Libc.TryReap(process.Handle, out var info))
        {
            return null;
        }

        return info.Code == Exited
            ? new ExitStatus(info.Status & 0xff, 0, false)
            : new ExitStatus(128 + info.Status, info.Status, info.Code == Dumped);
    }

    private sealed record Watch(PidFd Process, TaskCompletionSource<ExitStatus?> Ended);
}
