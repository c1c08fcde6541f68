using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// A FIFO that a process writes to. The process has the writing end itself; here is what lets readers come and go, and what keeps
/// the last bytes for a reader that comes late.
/// </summary>
/// <remarks>
/// <para>While the process runs there is a keeper, open for reading and writing. As a reader it spares the process SIGPIPE and
/// EPIPE (a full FIFO makes it wait instead); as a writer it spares the client an end that is none; and bytes stay in a FIFO
/// as long as anybody has it open.</para>
/// <para>After the process's end the client must see the end, so no writer of ours may stay, but bytes that nobody has read must
/// not be lost. The kernel tells a writer by POLLERR that there is no reader, but not while the keeper counts as one. So: first a
/// holder is opened, a writer only; then the keeper is closed; then the holder is asked. A reader is there: the bytes are his, the holder
/// goes, and his end comes when the last other writer (a background child of the process) has closed. No reader and no bytes: the
/// same. No reader, but bytes: the holder keeps them, and inotify tells when somebody opens the FIFO. The watch is placed before the last
/// look, so nobody slips through between the two.</para>
/// </remarks>
internal sealed class OutputFifo : OutputSink
{
    private readonly EventLoop _loop;
    private readonly TaskCompletionSource _delivered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly SafeFileHandle _keeper;
    private SafeFileHandle? _holder;
    private EventLoop.Watch? _readerWatch;
    private bool _ended;
    private bool _unwatched;

    private EventLoop.Watch? _leaveWatch;
    private EventLoop.Registration? _discarding;

    private OutputFifo(SafeFileHandle writer, SafeFileHandle keeper, EventLoop loop, StreamAddress address)
        : base(writer) => (_keeper, _loop, Address) = (keeper, loop, address);

    /// <summary>Where it is.</summary>
    internal StreamAddress Address { get; }

    internal override bool CanWait => true;

    internal override Task Delivered => _delivered.Task;

    internal static OutputFifo Open(StreamAddress address, bool blocking, EventLoop loop)
    {
        SafeFileHandle? keeper = null;
        SafeFileHandle? writer = null;
        OutputFifo? fifo = null;
        EventLoop.Watch? watch = null;
        using var reference = Descriptors.OpenFifoReference(address.Path);
        try
        {
            var readerHasLeft = new TaskCompletionSource();
            if (address.OnDisconnect == OnDisconnect.Discard)
            {
                // The watch first, then a writing end that can only be had while there is a reader: his leaving cannot be missed.
                watch = loop.AddWatch(Descriptors.PathOf(reference), Libc.IN_CLOSE_NOWRITE, () => readerHasLeft.TrySetResult());
                writer = ClientFifo.OpenWriter(address);
            }

            // The process gets an open file of its own: O_NONBLOCK belongs to the open file, and a container never sees EAGAIN.
            keeper = Descriptors.Reopen(reference, Libc.O_RDWR | Libc.O_NONBLOCK);
            writer ??= Descriptors.Reopen(reference, Libc.O_WRONLY | Libc.O_NONBLOCK);
            Fd.SetNonBlocking(writer, !blocking);
            fifo = new OutputFifo(writer, keeper, loop, address) { _leaveWatch = watch };
            if (watch is not null)
            {
                var opened = fifo;
                _ = readerHasLeft.Task.ContinueWith(_ => opened.Discard(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }

            return fifo;
        }
        catch
        {
            watch?.Dispose();
            writer?.Dispose();
            keeper?.Dispose();
            throw;
        }
    }

    /// <summary>From now on the output is thrown away, so that the process never waits for anybody. What nobody has read yet is lost.</summary>
    internal void Discard()
    {
        lock (_lock)
        {
            if (_delivered.Task.IsCompleted || _discarding is not null)
            {
                return;
            }

            _leaveWatch?.Dispose();
            if (_ended)
            {
                Finish();
                return;
            }

            _discarding = _loop.Register(_keeper, Libc.EPOLLIN, _ => DiscardAll());
        }

        _loop.Post(DiscardAll);
    }

    internal override void End()
    {
        lock (_lock)
        {
            _ended = true;
            Settle();
        }
    }

    internal override void Recheck()
    {
        lock (_lock)
        {
            if (_ended)
            {
                Settle();
            }
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        lock (_lock)
        {
            Finish();
        }

        base.Dispose();
    }

    private void Settle()
    {
        if (_delivered.Task.IsCompleted)
        {
            return;
        }

        if (_discarding is not null)
        {
            Finish();
            return;
        }

        try
        {
            if (_holder is null)
            {
                _holder = Descriptors.Reopen(_keeper, Libc.O_WRONLY | Libc.O_NONBLOCK);
                _keeper.Dispose();
            }

            if (!IsPending(_holder))
            {
                Finish();
            }
            else if (_readerWatch is null)
            {
                _readerWatch = _loop.AddWatch(Descriptors.PathOf(_holder), Libc.IN_OPEN, Recheck);
                if (!IsPending(_holder))
                {
                    Finish();
                }
            }
        }
        catch (Exception e) when (e is NativeException or ObjectDisposedException)
        {
            // Out of descriptors or of inotify watches. What is held stays held, and whoever drains us looks again from time to time.
            if (!_unwatched)
            {
                _unwatched = true;
                _loop.Log($"cannot watch for a reader of an output: {e.Message}");
            }
        }
    }

    /// <summary>Bytes wait, and nobody is there to read them.</summary>
    private static bool IsPending(SafeFileHandle writer) =>
        (Libc.PollNow(writer, Libc.POLLOUT) & Libc.POLLERR) != 0 && Fd.BytesAvailable(writer) > 0;

    private void DiscardAll()
    {
        lock (_lock)
        {
            while (!_keeper.IsClosed && Fd.Read(_keeper, _loop.Scratch) > 0)
            {
            }
        }
    }

    private void Finish()
    {
        _leaveWatch?.Dispose();
        _discarding?.Dispose();
        _readerWatch?.Dispose();
        _keeper.Dispose();
        _holder?.Dispose();
        _delivered.TrySetResult();
    }
}
