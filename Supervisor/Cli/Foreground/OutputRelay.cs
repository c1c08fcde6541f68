using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Supervisor.Cli.Foreground;

/// <summary>
/// Copies one of the container's output FIFOs to one of our descriptors, on a thread of its own: reads and writes block as long as they
/// like, and the container feels it when our reader is slow, as it would in a shell.
/// </summary>
internal sealed class OutputRelay : IDisposable
{
    // As large as an unprivileged pipe may be: fewer switches between the container, us and our reader.
    private const int PipeBytes = 1024 * 1024;
    private const int BufferBytes = 256 * 1024;

    private readonly SafeFileHandle _source;
    private readonly SafeFileHandle _destination;
    private readonly Action _onDestinationGone;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _readingSince;
    private long _copied;
    private volatile bool _stopped;

    /// <summary>
    /// Opens the reading end at once, so that the container's side finds a reader from the start; nothing is read before
    /// <see cref="Begin"/>. <paramref name="onDestinationGone"/> is told when nobody reads our own output any more.
    /// </summary>
    internal OutputRelay(string fifo, int destination, Action onDestinationGone)
    {
        // Non-blocking, because a blocking open waits for a writer.
        _source = Fd.Open(fifo, Libc.O_RDONLY | Libc.O_NONBLOCK);
        _destination = new SafeFileHandle(destination, ownsHandle: false);
        _onDestinationGone = onDestinationGone;

        // A wish: the limit of pipes per user may be reached, and then the usual 64 KiB do.
        _ = Libc.Fcntl(Fd.Number(_source), Libc.F_SETPIPE_SZ, PipeBytes);
    }

    /// <summary>Ends at the end of the stream, which is when its last writer has closed it.</summary>
    internal Task Ended => _ended.Task;

    /// <summary>Bytes copied so far.</summary>
    internal long Copied => Interlocked.Read(ref _copied);

    /// <summary>For how long the stream has had nothing to read; zero while we write.</summary>
    internal TimeSpan Idle => Interlocked.Read(ref _readingSince) is > 0 and var since ? TimeSpan.FromMilliseconds(Environment.TickCount64 - since) : TimeSpan.Zero;

    /// <summary>
    /// Starts to copy. To be called when the shim holds the writing end: a read before that would see the end of a stream that has not
    /// even begun.
    /// </summary>
    internal void Begin()
    {
        Fd.SetNonBlocking(_source, nonBlocking: false);
        new Thread(Copy, 256 * 1024) { IsBackground = true, Name = "output relay" }.Start();
    }

    /// <summary>Gives up the rest of the stream: whoever holds it open may do so for ever. The thread dies with the program.</summary>
    internal void Stop() => _stopped = true;

    public void Dispose()
    {
        // A thread that is still blocked in read keeps using the descriptor: only an ended relay gives it back.
        if (_ended.Task.IsCompleted)
        {
            _source.Dispose();
        }

        _destination.Dispose();
    }

    private void Copy()
    {
        try
        {
            if (!MoveAll())
            {
                CopyAll();
            }

            _ended.TrySetResult();
        }
        catch (Exception e)
        {
            _ended.TrySetException(e);
        }
    }

    /// <summary>
    /// Lets the kernel move the bytes: when our output is a pipe or a file, none of them comes by here. False when that does not work,
    /// or no longer: the rest is to be copied.
    /// </summary>
    private bool MoveAll()
    {
        while (!_stopped)
        {
            // Only the wait for bytes counts as idle; what follows may block as long as our reader likes.
            Interlocked.Exchange(ref _readingSince, Environment.TickCount64);
            Readiness.Wait(_source, Libc.POLLIN, Timeout.Infinite);
            Interlocked.Exchange(ref _readingSince, 0);
            var count = Libc.Splice(_source, _destination, PipeBytes);
            if (count == 0)
            {
                return true;
            }

            if (count > 0)
            {
                Interlocked.Add(ref _copied, count);
            }
            else if (Errno.Last == Errno.EAGAIN)
            {
                Readiness.Wait(_destination, Libc.POLLOUT, Timeout.Infinite);
            }
            else
            {
                // A file that is appended to, a terminal of an old kernel, a reader that has gone.
                return false;
            }
        }

        return true;
    }

    private void CopyAll()
    {
        var buffer = new byte[BufferBytes];
        var gone = false;
        while (!_stopped)
        {
            Interlocked.Exchange(ref _readingSince, Environment.TickCount64);
            var count = Fd.Read(_source, buffer);
            Interlocked.Exchange(ref _readingSince, 0);
            if (count == 0)
            {
                return;
            }

            if (count < 0)
            {
                throw Errno.Exception("read of the container's output");
            }

            if (!gone && !_stopped && !Write(buffer.AsSpan(0, count)))
            {
                // From now on what the container writes is read and dropped, so that it is not blocked for ever.
                gone = true;
                _onDestinationGone();
            }

            Interlocked.Add(ref _copied, count);
        }
    }

    /// <summary>False when nobody reads our output any more.</summary>
    private bool Write(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_destination, bytes);
            if (count >= 0)
            {
                bytes = bytes[count..];
            }
            else if (Errno.Last == Errno.EAGAIN)
            {
                // Somebody who shares our terminal or pipe has made it non-blocking.
                Readiness.Wait(_destination, Libc.POLLOUT, Timeout.Infinite);
            }
            else if (Errno.Last is Errno.EPIPE or Errno.EIO or Errno.EBADF)
            {
                return false;
            }
            else
            {
                throw Errno.Exception("write of the container's output");
            }
        }

        return true;
    }
}
