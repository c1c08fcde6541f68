using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// A FIFO that a process reads from. The process has the reading end itself; here is only a writer that never writes, the keeper.
/// While it is open the process can't see an end, however many clients come and go.
/// </summary>
/// <remarks>
/// The keeper is a writer only, no reader: when the process has closed its stdin, clients get EPIPE as they would without us.
/// To be told of the last writer's leaving there is inotify: IN_CLOSE_WRITE comes when any writer closes. Then the keeper is
/// dropped, and the kernel does the rest: the end comes when no other writer is left, after all bytes. The watch stands before the
/// FIFO can be opened by anybody (a client's open waits for a reader), so no writer is missed, however short its visit.
/// </remarks>
internal sealed class InputFifo : InputSource
{
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private SafeFileHandle? _keeper;
    private IDisposable? _writerWatch;
    private bool _ended;

    // Null unless the last writer's leaving is the end.
    private EventLoop? _watching;

    private InputFifo(SafeFileHandle reader)
        : base(reader)
    {
    }

    internal override bool CanWait => true;

    internal static InputFifo Open(string path, bool blocking, StdinPolicy policy, EventLoop loop)
    {
        InputFifo? fifo = null;
        using var reference = Descriptors.OpenFifoReference(path);
        SafeFileHandle? counted = null;
        EventLoop.Watch? watch = null;
        var writerHasClosed = new TaskCompletionSource();
        try
        {
            if (policy == StdinPolicy.CloseWithLastWriter)
            {
                watch = TryWatch(reference, loop, () => writerHasClosed.TrySetResult());
            }

            var reader = counted = Descriptors.Reopen(reference, Libc.O_RDONLY | Libc.O_NONBLOCK);
            fifo = new InputFifo(reader) { _keeper = Descriptors.Reopen(reference, Libc.O_WRONLY | Libc.O_NONBLOCK) };
            if (policy == StdinPolicy.CloseWithLastWriter)
            {
                fifo._watching = loop;
                fifo._writerWatch = watch is null ? WatchForBytes(reference, loop, fifo.End) : watch;
                watch = null;

                // Only now there is something that the news could close. It may have come already.
                var opened = fifo;
                _ = writerHasClosed.Task.ContinueWith(_ => opened.End(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }

            Fd.SetNonBlocking(reader, !blocking);
            return fifo;
        }
        catch
        {
            watch?.Dispose();
            fifo?.Dispose();
            counted?.Dispose();
            throw;
        }
    }

    internal override void End()
    {
        lock (_lock)
        {
            if (_ended)
            {
                return;
            }

            _ended = true;
            _writerWatch?.Dispose();
            _keeper?.Dispose();
        }
    }

    internal override void Unwatch()
    {
        lock (_lock)
        {
            // What it has not told yet it never will.
            _writerWatch?.Dispose();
            _writerWatch = null;
        }
    }

    internal override void Watch()
    {
        SafeFileHandle? keeper;
        lock (_lock)
        {
            keeper = _ended || _watching is null ? null : _keeper;
        }

        if (keeper is null)
        {
            return;
        }

        IDisposable watch = (IDisposable?)TryWatch(keeper, _watching!, End) ?? WatchForBytes(keeper, _watching!, End);
        lock (_lock)
        {
            if (!_ended)
            {
                _writerWatch = watch;
                return;
            }
        }

        watch.Dispose();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        End();
        base.Dispose();
    }

    /// <summary>Null when the user's inotify instances (128 by default) are used up.</summary>
    private static EventLoop.Watch? TryWatch(SafeFileHandle fifo, EventLoop loop, Action writerClosed)
    {
        try
        {
            return loop.AddWatch(Descriptors.PathOf(fifo), Libc.IN_CLOSE_WRITE, writerClosed);
        }
        catch (NativeException e) when (e.Number is Errno.EMFILE or Errno.ENFILE or Errno.ENOSPC or Errno.ENOMEM)
        {
            loop.Log($"cannot watch for the end of stdin as usual: {e.Message}");
            return null;
        }
    }

    /// <summary>
    /// The second best: bytes in the FIFO tell that a writer has come; without the keeper its leaving is the end. Only a writer that
    /// leaves without a word goes unnoticed.
    /// </summary>
    private static WatchedReader WatchForBytes(SafeFileHandle reference, EventLoop loop, Action writerCame)
    {
        var reader = Descriptors.Reopen(reference, Libc.O_RDONLY | Libc.O_NONBLOCK);
        try
        {
            return new WatchedReader(reader, loop.Register(reader, Libc.EPOLLIN, _ => writerCame()));
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private sealed class WatchedReader(SafeFileHandle reader, EventLoop.Registration registration) : IDisposable
    {
        public void Dispose()
        {
            registration.Dispose();
            reader.Dispose();
        }
    }
}
