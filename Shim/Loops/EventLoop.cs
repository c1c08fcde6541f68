using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Loops;

/// <summary>
/// One thread that waits for descriptors: sockets, signals and timers in the main loop, terminals and inotify in another, logs in a third. Thread and
/// descriptors exist from the first need on; a container without a terminal and with plain output has nothing but the main loop.
/// </summary>
/// <remarks>
/// Everything is registered edge-triggered: a condition that lasts (a hung-up terminal, a FIFO that nobody reads) is reported once and
/// can't make the loop spin. So whoever is told reads or writes until EAGAIN. Handlers run on the loop's thread, never block, and may
/// throw: that is logged and the loop goes on.
/// </remarks>
internal sealed class EventLoop : IDisposable
{
    private const int StackBytes = 256 * 1024;
    private const int UsualScratchBytes = 32 * 1024;
    private const int MaxEvents = 16;
    private const long WakeId = 0;
    private const long InotifyId = 1;

    private readonly string _name;
    private readonly int _scratchBytes;
    private readonly Lock _lock = new();
    private Action<string>? _log;

    // Guarded by _lock. Numbers of registrations are never used again, so an event that was fetched before its registration ended finds
    // nobody, whatever the descriptor's number means by then.
    private readonly Dictionary<long, Registration> _registrations = [];
    private readonly Dictionary<int, List<Watch>> _watches = [];
    private long _lastId = InotifyId;
    private List<Action> _posted = [];
    private Epoll? _epoll;
    private SafeFileHandle? _wake;
    private SafeFileHandle? _inotify;
    private bool _hasOwnThread = true;
    private bool _stopping;
    private bool _stopped;

    private byte[]? _scratch;

    /// <param name="log">Told of failures inside the loop, one line each.</param>
    /// <param name="name">The thread's name.</param>
    /// <param name="scratchBytes">The size of <see cref="Scratch"/>.</param>
    internal EventLoop(Action<string>? log = null, string name = "streams", int scratchBytes = UsualScratchBytes) =>
        (_log, _name, _scratchBytes, Clock) = (log, name, scratchBytes, new LoopClock(Wake));

    /// <summary>The loop of what every process has: sockets, signals and time. In a shim it is the main thread, see <see cref="TakeThread"/>.</summary>
    internal static EventLoop Main { get; } = new(name: "main loop");

    /// <summary>The timers that this loop sleeps for.</summary>
    internal LoopClock Clock { get; }

    /// <summary>Whether the thread and its descriptors exist.</summary>
    internal bool IsRunning
    {
        get
        {
            lock (_lock)
            {
                return _epoll is not null && !_stopped;
            }
        }
    }

    /// <summary>Room for the bytes that a handler moves. Only for the loop's own thread, and only until the handler returns.</summary>
    internal byte[] Scratch => _scratch ??= GC.AllocateUninitializedArray<byte>(_scratchBytes);

    /// <summary>It will be run by <see cref="Run"/>, and not by a thread of its own. To be said before the first need.</summary>
    /// <param name="log">Told of failures inside the loop, one line each.</param>
    internal void TakeThread(Action<string> log)
    {
        lock (_lock)
        {
            (_log, _hasOwnThread) = (log, false);
            StartLocked();
        }
    }

    /// <summary>Starts the thread if it does not run yet.</summary>
    internal void Start()
    {
        lock (_lock)
        {
            StartLocked();
        }
    }

    /// <summary>
    /// Calls <paramref name="ready"/> with what has become true of <paramref name="handle"/>, once per change. What holds already
    /// counts as a change. The handle stays open (in the sense of its number) until the registration is disposed of.
    /// </summary>
    internal Registration Register(SafeHandle handle, uint events, Action<uint> ready)
    {
        lock (_lock)
        {
            StartLocked();
            var registration = new Registration(this, ++_lastId, handle, ready);
            try
            {
                _epoll!.Add(handle, events | Libc.EPOLLET, registration.Id);
            }
            catch
            {
                registration.Release();
                throw;
            }

            _registrations.Add(registration.Id, registration);
            return registration;
        }
    }

    /// <summary>
    /// Calls <paramref name="changed"/> when one of the inotify <paramref name="events"/> has happened to the file behind
    /// <paramref name="path"/>. A queue overflow counts as one: better a look too many than a change that is missed.
    /// </summary>
    internal Watch AddWatch(string path, uint events, Action changed)
    {
        lock (_lock)
        {
            StartLocked();
            if (_inotify is null)
            {
                var inotify = Fd.Own(Libc.InotifyInit1(Libc.IN_CLOEXEC | Libc.IN_NONBLOCK), "inotify_init1");
                try
                {
                    _epoll!.Add(inotify, Libc.EPOLLIN | Libc.EPOLLET, InotifyId);
                }
                catch
                {
                    inotify.Dispose();
                    throw;
                }

                _inotify = inotify;
            }

            // The kernel knows one watch per file. A second one would replace the first one's events without IN_MASK_ADD.
            var number = Libc.InotifyAddWatch(Fd.Number(_inotify), path, events | Libc.IN_MASK_ADD);
            if (number == -1)
            {
                throw Errno.Exception("inotify_add_watch", path);
            }

            var watch = new Watch(this, number, events, changed);
            if (!_watches.TryGetValue(number, out var watches))
            {
                _watches.Add(number, watches = []);
            }

            watches.Add(watch);
            return watch;
        }
    }

    /// <summary>Runs <paramref name="action"/> on the loop's thread; at once on this one if the loop has ended.</summary>
    internal void Post(Action action)
    {
        lock (_lock)
        {
            if (!_stopped)
            {
                StartLocked();
                _posted.Add(action);
                if (_posted.Count == 1)
                {
                    WakeLocked();
                }

                return;
            }
        }

        Guarded(action);
    }

    /// <summary>Runs <paramref name="function"/> on the loop's thread and hands over its result, or its exception.</summary>
    internal Task<T> RunAsync<T>(Func<T> function)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() =>
        {
            try
            {
                result.SetResult(function());
            }
            catch (Exception e)
            {
                result.SetException(e);
            }
        });
        return result.Task;
    }

    /// <summary>Gives the memory of <see cref="Scratch"/> back; it comes anew when it is needed. Only for the loop's own thread.</summary>
    internal void ReleaseScratch() => _scratch = null;

    /// <summary>Completes when <paramref name="handle"/> can be read (or accepted from, or has ended).</summary>
    internal async Task WaitReadableAsync(SafeHandle handle, CancellationToken cancellationToken)
    {
        var readable = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = Register(handle, Libc.EPOLLIN, _ => readable.TrySetResult());
        await readable.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Logs one line.</summary>
    internal void Log(string line) => _log?.Invoke(line);

    /// <summary>Ends the thread. What was posted before still runs.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_stopping)
            {
                return;
            }

            _stopping = true;
            if (_epoll is null)
            {
                _stopped = true;
            }
            else
            {
                WakeLocked();
            }
        }
    }

    private void StartLocked()
    {
        ObjectDisposedException.ThrowIf(_stopped, this);
        if (_epoll is not null)
        {
            return;
        }

        var epoll = new Epoll();
        SafeFileHandle? wake = null;
        try
        {
            wake = Fd.Own(Libc.EventFd(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK), "eventfd");
            epoll.Add(wake, Libc.EPOLLIN | Libc.EPOLLET, WakeId);
            (_epoll, _wake) = (epoll, wake);
            if (_hasOwnThread)
            {
                new Thread(Run, StackBytes) { IsBackground = true, Name = _name }.Start();
            }
        }
        catch
        {
            (_epoll, _wake) = (null, null);
            wake?.Dispose();
            epoll.Dispose();
            throw;
        }
    }

    /// <summary>Waits and dispatches on the calling thread until the loop is disposed of.</summary>
    internal void Run()
    {
        var epoll = _epoll!;
        Span<Libc.EpollEvent> events = stackalloc Libc.EpollEvent[MaxEvents];
        while (true)
        {
            var count = epoll.Wait(events, Clock.BeginSleep());
            Clock.EndSleep();
            for (var i = 0; i < count; i++)
            {
                Dispatch(events[i].Data, events[i].Events);
            }

            RunPosted();
            lock (_lock)
            {
                if (_stopping && _posted.Count == 0)
                {
                    _stopped = true;
                    epoll.Dispose();
                    _wake!.Dispose();
                    _inotify?.Dispose();
                    return;
                }
            }
        }
    }

    private void Wake()
    {
        lock (_lock)
        {
            if (!_stopped)
            {
                StartLocked();
                WakeLocked();
            }
        }
    }

    private void WakeLocked() => Fd.Write(_wake!, BitConverter.GetBytes(1L));

    private void Dispatch(long id, uint events)
    {
        if (id == WakeId)
        {
            // Only the change matters, not the count: RunPosted looks after every round.
            return;
        }

        if (id == InotifyId)
        {
            Guarded(ReadInotify);
            return;
        }

        Registration? registration;
        lock (_lock)
        {
            _registrations.TryGetValue(id, out registration);
        }

        if (registration is not null)
        {
            Guarded(registration.Ready, events);
        }
    }

    private void RunPosted()
    {
        List<Action> actions;
        lock (_lock)
        {
            if (_posted.Count == 0)
            {
                return;
            }

            (actions, _posted) = (_posted, []);
        }

        foreach (var action in actions)
        {
            Guarded(action);
        }
    }

    private void Guarded(Action action) => Guarded(static action => action(), action);

    private void Guarded<T>(Action<T> action, T argument)
    {
        try
        {
            action(argument);
        }
        catch (Exception e)
        {
            Log($"a handler failed: {e.GetType().Name}: {e.Message}");
        }
    }

    private void ReadInotify()
    {
        // struct inotify_event: int wd, uint mask, uint cookie, uint len, then len bytes of name (none, we watch no directories).
        const int HeaderBytes = 16;
        var buffer = Scratch;
        int length;
        while ((length = Fd.Read(_inotify!, buffer)) > 0)
        {
            var changed = new List<Watch>();
            lock (_lock)
            {
                for (var offset = 0; offset + HeaderBytes <= length;)
                {
                    var header = MemoryMarshal.Cast<byte, uint>(buffer.AsSpan(offset, HeaderBytes));
                    CollectChanged((int)header[0], header[1], changed);
                    offset += HeaderBytes + (int)header[3];
                }
            }

            foreach (var watch in changed)
            {
                Guarded(watch.Changed);
            }
        }
    }

    private void CollectChanged(int number, uint events, List<Watch> changed)
    {
        if ((events & Libc.IN_Q_OVERFLOW) != 0)
        {
            changed.AddRange(_watches.Values.SelectMany(watches => watches));
        }
        else if (_watches.TryGetValue(number, out var watches))
        {
            changed.AddRange(watches.Where(watch => (watch.Events & events) != 0));
            if ((events & Libc.IN_IGNORED) != 0)
            {
                // The file has gone for good, and with it the kernel's watch.
                _watches.Remove(number);
            }
        }
    }

    private void Remove(Registration registration)
    {
        lock (_lock)
        {
            if (_registrations.Remove(registration.Id))
            {
                if (!_stopped)
                {
                    _epoll!.Remove(registration.Handle);
                }

                registration.Release();
            }
        }
    }

    private void Arm(Registration registration, uint events)
    {
        lock (_lock)
        {
            if (!_stopped && _registrations.ContainsKey(registration.Id))
            {
                _epoll!.Modify(registration.Handle, events | Libc.EPOLLET, registration.Id);
            }
        }
    }

    private void Remove(Watch watch)
    {
        lock (_lock)
        {
            if (_watches.TryGetValue(watch.Number, out var watches) && watches.Remove(watch) && watches.Count == 0)
            {
                _watches.Remove(watch.Number);
                if (!_stopped)
                {
                    // Fails when the file has just gone, which is as good.
                    _ = Libc.InotifyRemoveWatch(Fd.Number(_inotify!), watch.Number);
                }
            }
        }
    }

    /// <summary>One descriptor that the loop waits for.</summary>
    internal sealed class Registration : IDisposable
    {
        private readonly EventLoop _loop;

        internal Registration(EventLoop loop, long id, SafeHandle handle, Action<uint> ready)
        {
            (_loop, Id, Handle, Ready) = (loop, id, handle, ready);
            var added = false;
            handle.DangerousAddRef(ref added);
        }

        internal long Id { get; }

        internal SafeHandle Handle { get; }

        internal Action<uint> Ready { get; }

        /// <summary>Waits for other events from now on; what already holds is reported.</summary>
        internal void Arm(uint events) => _loop.Arm(this, events);

        /// <summary>Ends it. A call that is under way on the loop's thread is not waited for.</summary>
        public void Dispose() => _loop.Remove(this);

        internal void Release() => Handle.DangerousRelease();
    }

    /// <summary>One party interested in what happens to a file.</summary>
    internal sealed class Watch(EventLoop loop, int number, uint events, Action changed) : IDisposable
    {
        internal int Number { get; } = number;

        internal uint Events { get; } = events;

        internal Action Changed { get; } = changed;

        /// <summary>Ends it. A call that is under way on the loop's thread is not waited for.</summary>
        public void Dispose() => loop.Remove(this);
    }
}
