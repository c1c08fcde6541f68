using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Loops;

/// <summary>
/// A unix stream socket, listening or connected, whose waits take no thread; one reader and one writer at a time. Errors are NativeException; a
/// wait that the end of the socket cuts off is ObjectDisposedException.
/// </summary>
/// <remarks>Our own, because the framework's have an event loop with a thread and tables for themselves, in every process.</remarks>
internal sealed class UnixSocket : IDisposable
{
    private readonly EventLoop _loop;
    private readonly EventLoop.Registration _registration;
    private readonly Lock _lock = new();

    // Guarded by the lock.
    private Side _reading;
    private Side _writing;
    private bool _awaitsRoom;
    private bool _disposed;

    /// <param name="handle">It is this object's from now on.</param>
    /// <param name="loop">Where it is waited for; null is the main one.</param>
    internal UnixSocket(SafeFileHandle handle, EventLoop? loop = null)
    {
        (Handle, _loop) = (handle, loop ?? EventLoop.Main);
        try
        {
            Fd.SetNonBlocking(handle, true);
            _registration = _loop.Register(handle, Libc.EPOLLIN | Libc.EPOLLRDHUP, Ready);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>For system calls; to be closed by <see cref="Dispose"/> only.</summary>
    internal SafeFileHandle Handle { get; }

    /// <summary>Connects, without waiting: where the listener's queue is full, that is an error (EAGAIN).</summary>
    internal static UnixSocket Connect(string path) => new(UnixSockets.Connect(path));

    /// <summary>The next connection.</summary>
    internal async Task<UnixSocket> AcceptAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var fd = UnixSockets.Accept(Handle);
            if (fd >= 0)
            {
                return new UnixSocket(new SafeFileHandle(fd, ownsHandle: true), _loop);
            }

            await WaitAsync(ref _reading, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until there is something to receive, or the end.</summary>
    internal async ValueTask ReadableAsync(CancellationToken cancellationToken)
    {
        while (!UnixSockets.HasInput(Handle))
        {
            await WaitAsync(ref _reading, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Some bytes, at least one; none at the end of the connection.</summary>
    internal async ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            var count = UnixSockets.Receive(Handle, buffer.Span);
            if (count >= 0)
            {
                return count;
            }

            await WaitAsync(ref _reading, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Sends what there is room for, at least a byte.</summary>
    internal async ValueTask<int> SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (true)
        {
            var count = UnixSockets.Send(Handle, bytes.Span);
            if (count >= 0)
            {
                return count;
            }

            AwaitRoom();
            await WaitAsync(ref _writing, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Closes it. Who waits is told.</summary>
    public void Dispose()
    {
        TaskCompletionSource? reader, writer;
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            (reader, writer) = (_reading.Waiter, _writing.Waiter);
        }

        _registration.Dispose();
        Handle.Dispose();
        reader?.TrySetException(new ObjectDisposedException(nameof(UnixSocket)));
        writer?.TrySetException(new ObjectDisposedException(nameof(UnixSocket)));
    }

    // Only from the first time on that there was none: otherwise each byte that the peer takes would wake the loop up.
    private void AwaitRoom()
    {
        lock (_lock)
        {
            if (_awaitsRoom)
            {
                return;
            }

            _awaitsRoom = true;
        }

        _registration.Arm(Libc.EPOLLIN | Libc.EPOLLRDHUP | Libc.EPOLLOUT);
    }

    private Task WaitAsync(ref Side side, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (side.IsReady)
            {
                side.IsReady = false;
                return Task.CompletedTask;
            }

            side.Waiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return side.Waiter.Task.WaitAsync(cancellationToken);
        }
    }

    private void Ready(uint events)
    {
        const uint Over = Libc.EPOLLHUP | Libc.EPOLLERR;
        TaskCompletionSource? reader = null, writer = null;
        lock (_lock)
        {
            if ((events & (Libc.EPOLLIN | Libc.EPOLLRDHUP | Over)) != 0)
            {
                reader = _reading.Change();
            }

            if ((events & (Libc.EPOLLOUT | Over)) != 0)
            {
                writer = _writing.Change();
            }
        }

        reader?.TrySetResult();
        writer?.TrySetResult();
    }

    // The kernel tells of each change once, maybe before anybody waits for it: then it is remembered.
    private struct Side
    {
        internal bool IsReady;
        internal TaskCompletionSource? Waiter;

        internal TaskCompletionSource? Change()
        {
            var waiter = Waiter;
            (IsReady, Waiter) = (waiter is null, null);
            return waiter;
        }
    }
}
