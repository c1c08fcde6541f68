using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio.Loggers;

/// <summary>
/// One stream of one process on its way to a logger: from the process's pipe to the logger's, moved by the kernel. A slow logger slows the process
/// down, as a pipe does; one that stands still, or is dead, does not: after a moment without progress what comes is thrown away and
/// counted, until the logger reads again.
/// </summary>
internal sealed class LoggerSink : OutputSink
{
    private const int MaxRounds = 16;
    private const int LargePipe = 1024 * 1024;

    // How long a process may have to wait for a logger that makes no progress.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly EventLoop _loop;
    private readonly Logger _logger;
    private readonly Action _ended;
    private readonly SafeFileHandle _source;
    private readonly SafeFileHandle _destination;
    private readonly AttachedOutputs _attached;
    private readonly EventLoop.Registration _readable;
    private readonly EventLoop.Registration _writable;
    private readonly ITimer _stall;

    // Only touched on the loop's thread.
    private byte[] _unsent = [];
    private bool _awaitsRoom;
    private bool _shedding;
    private long _dropped;
    private bool _turnPosted;
    private bool _atEnd;

    /// <param name="loop">Moves the bytes.</param>
    /// <param name="logger">The program that reads them.</param>
    /// <param name="pipe">From the process.</param>
    /// <param name="destination">To the program; does not block.</param>
    /// <param name="ended">Called when all is handed over.</param>
    internal LoggerSink(EventLoop loop, Logger logger, (SafeFileHandle Reader, SafeFileHandle Writer) pipe, SafeFileHandle destination, Action ended)
        : base(pipe.Writer)
    {
        (_loop, _logger, _source, _destination, _ended) = (loop, logger, pipe.Reader, destination, ended);
        PipeName = RelayPipe.NameOf(_source);
        _attached = new AttachedOutputs(loop);
        _stall = Clock.NewTimer(() => loop.Post(Stalled));
        _ = Libc.Fcntl(Fd.Number(_source), Libc.F_SETPIPE_SZ, LargePipe);
        _ = Libc.Fcntl(Fd.Number(_destination), Libc.F_SETPIPE_SZ, LargePipe);
        _writable = loop.Register(destination, 0, OnDestination);
        _readable = loop.Register(_source, Libc.EPOLLIN, _ => Pump());
    }

    internal override bool CanWait => true;

    internal override Task Delivered => _logger.Ended;

    internal override AttachedOutputs Attached => _attached;

    internal override bool IsOurs => true;

    internal override string PipeName { get; }

    internal override void End()
    {
    }

    internal override void Recheck()
    {
    }

    /// <summary>Nobody waits for the rest any more; what a background child still writes is handed on all the same.</summary>
    public override void Dispose()
    {
        base.Dispose();
        _logger.GiveUp();
    }

    private void Pump()
    {
        for (var round = 0; round < MaxRounds; round++)
        {
            if (_atEnd || (_unsent.Length > 0 && !_shedding && !Send(_unsent)))
            {
                return;
            }

            var moved = Move();
            if (moved == 0)
            {
                ReachEnd();
                return;
            }

            if (moved < 0)
            {
                return;
            }
        }

        if (!_turnPosted)
        {
            _turnPosted = true;
            _loop.Post(() =>
            {
                _turnPosted = false;
                Pump();
            });
        }
    }

    /// <summary>Moves some bytes. 0 at the end, -1 when there are none or there is no room.</summary>
    private long Move()
    {
        if (!_attached.Any && !_shedding)
        {
            var count = Libc.Splice(_source, _destination, LargePipe);
            if (count >= 0)
            {
                return count;
            }

            if (Errno.Last != Errno.EAGAIN)
            {
                return 0;
            }

            // Either the source is empty or the destination is full.
            if (Fd.BytesAvailable(_source) > 0)
            {
                AwaitRoom();
            }

            return -1;
        }

        var buffer = _loop.Scratch;
        var length = Fd.Read(_source, buffer);
        if (length <= 0)
        {
            return length < 0 && Errno.Last == Errno.EAGAIN ? -1 : 0;
        }

        var bytes = buffer.AsSpan(0, length);
        _attached.Offer(bytes);
        if (_shedding)
        {
            _dropped += length;
            return length;
        }

        return Send(bytes) ? length : -1;
    }

    private bool Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_destination, bytes);
            if (count < 0)
            {
                // EAGAIN: we hold the reading end too, so there is no other reason.
                _unsent = bytes.ToArray();
                AwaitRoom();
                return false;
            }

            bytes = bytes[count..];
        }

        _unsent = [];
        return true;
    }

    private void AwaitRoom()
    {
        if (!_awaitsRoom)
        {
            _awaitsRoom = true;
            _stall.Set(s_patience);
            _writable.Arm(Libc.EPOLLOUT);
        }
    }

    private void OnDestination(uint events)
    {
        if ((events & Libc.EPOLLOUT) == 0 || _atEnd)
        {
            return;
        }

        _awaitsRoom = false;
        _stall.Stop();
        _writable.Arm(0);
        _shedding = false;
        TellOfGap();
        Pump();
    }

    private void Stalled()
    {
        if (_awaitsRoom && !_atEnd)
        {
            _shedding = true;
            Pump();
        }
    }

    private void TellOfGap()
    {
        if (_dropped > 0)
        {
            _loop.Log($"a logger did not read in time: {_dropped} bytes of output were dropped");
            _dropped = 0;
        }
    }

    private void ReachEnd()
    {
        _atEnd = true;
        _dropped += _unsent.Length;
        TellOfGap();
        _readable.Dispose();
        _writable.Dispose();
        _stall.Dispose();
        _source.Dispose();
        _destination.Dispose();
        _attached.Dispose();
        _ended();
    }
}
