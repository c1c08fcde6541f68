using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>
/// Carries the bytes of one terminal: stdin address to master, master to stdout address. All of it happens on the loop's thread; the
/// other methods only post there.
/// </summary>
/// <remarks>
/// <para>What could not be written at once is kept, and nothing more is read until it has gone: never more than one buffer
/// per direction is in memory, and a client that does not read makes the process wait, as a pipe would.</para>
/// <para>A read of the master answers EIO while nobody has the slave open. That is not the end yet: a process can close its
/// terminal and open it again. It is the end once the process has exited. The kernel flushes what is under way in the terminal before it
/// says EIO or EAGAIN, so nothing written before the exit can come after that answer. When a background child still has the slave open
/// after the exit, the relay goes on until it closes, or until the streams are drained.</para>
/// </remarks>
internal sealed class TerminalRelay
{
    // One direction's turn; then other terminals get theirs.
    private const int MaxRounds = 8;
    private const int InputChunk = 4096;
    private const byte EndOfTransmission = 0x04;

    private readonly StreamLoop _loop;
    private readonly InputSource? _source;
    private readonly OutputSink _sink;
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _masterLock = new();

    // Guarded by _masterLock.
    private SafeFileHandle? _master;
    private (ushort Columns, ushort Rows)? _size;
    private bool _masterClosed;

    // Only touched on the loop's thread.
    private StreamLoop.Registration? _masterReady;
    private StreamLoop.Registration? _sourceReady;
    private StreamLoop.Registration? _sinkReady;
    private byte[] _unsentOutput = [];
    private byte[] _unsentInput = [];
    private bool _awaitsSinkRoom;
    private bool _awaitsMasterRoom;
    private bool _outputTurnPosted;
    private bool _inputTurnPosted;
    private bool _endInput;
    private bool _inputEnded;
    private bool _midLine;
    private bool _exited;
    private bool _draining;
    private bool _closed;
    private bool _outputLost;

    internal TerminalRelay(StreamLoop loop, InputSource? source, OutputSink sink) => (_loop, _source, _sink) = (loop, source, sink);

    /// <summary>Completes when the relay has read all there was, handed it on, and closed the terminal.</summary>
    internal Task Finished => _finished.Task;

    /// <summary>Takes over the master and starts.</summary>
    internal void Attach(SafeFileHandle master)
    {
        lock (_masterLock)
        {
            if (_masterClosed || _master is not null)
            {
                master.Dispose();
                return;
            }

            Fd.SetNonBlocking(master, true);
            _master = master;
            if (_size is { } size)
            {
                Terminal.SetSize(master, size.Columns, size.Rows);
            }
        }

        _loop.Post(Begin);
    }

    /// <summary>Sets the size, now or when the terminal comes. False when it is closed.</summary>
    internal bool Resize(ushort columns, ushort rows)
    {
        lock (_masterLock)
        {
            _size = (columns, rows);
            if (_master is not null && !_masterClosed)
            {
                Terminal.SetSize(_master, columns, rows);
            }

            return !_masterClosed;
        }
    }

    /// <summary>No more input than what clients have written or will write before they close.</summary>
    internal void EndInput() => _loop.Post(() =>
    {
        _source?.End();
        _endInput = true;
        PumpInput();
    });

    /// <summary>The process has exited: the next EIO is the end.</summary>
    internal void ProcessExited() => _loop.Post(() =>
    {
        _exited = true;
        CloseInput();
        PumpOutput();
    });

    /// <summary>Ends as soon as what has been written to the terminal so far is handed on.</summary>
    internal void Drain() => _loop.Post(() =>
    {
        _exited = true;
        _draining = true;
        CloseInput();
        PumpOutput();
    });

    /// <summary>Closes everything at once.</summary>
    internal void Close() => _loop.Post(() =>
    {
        CloseInput();
        Finish();
        _sink.Dispose();
    });

    private void Begin()
    {
        if (_closed)
        {
            return;
        }

        try
        {
            _masterReady = _loop.Register(_master!, Libc.EPOLLIN, OnMaster);
            if (!_exited && _source is { CanWait: true })
            {
                _sourceReady = _loop.Register(_source.Reader, Libc.EPOLLIN, _ => PumpInput());
            }
        }
        catch
        {
            // A terminal that nobody reads would make its process stand still: a hang-up is the lesser evil.
            Finish();
            throw;
        }

        // Edge-triggered: nothing tells us of room and bytes that are there already, except a first try.
        PumpOutput();
        PumpInput();
    }

    private void OnMaster(uint events)
    {
        if ((events & ~Libc.EPOLLOUT) != 0)
        {
            PumpOutput();
        }

        if (_awaitsMasterRoom)
        {
            PumpInput();
        }
    }

    private void PumpOutput()
    {
        if (_closed)
        {
            return;
        }

        if (_masterReady is null)
        {
            // The terminal has not come yet. When it is drained already, it never will.
            if (_draining)
            {
                Finish();
            }

            return;
        }

        for (var round = 0; round < MaxRounds; round++)
        {
            if (_unsentOutput.Length > 0 && !Send(_unsentOutput))
            {
                return;
            }

            // A terminal gives at most 4 KB at a time, and mostly a line; clients are woken once for all that is there.
            var buffer = _loop.Scratch;
            var filled = 0;
            var count = 0;
            while (filled < buffer.Length && (count = Fd.Read(_master!, buffer.AsSpan(filled))) > 0)
            {
                filled += count;
            }

            var slaveIsOpen = count == -1 && Errno.Last == Errno.EAGAIN;
            if (filled > 0 && !Send(buffer.AsSpan(0, filled)))
            {
                return;
            }

            if (count <= 0)
            {
                if (_exited && (!slaveIsOpen || _draining))
                {
                    Finish();
                }

                return;
            }
        }

        if (!_outputTurnPosted)
        {
            _outputTurnPosted = true;
            _loop.Post(() =>
            {
                _outputTurnPosted = false;
                PumpOutput();
            });
        }
    }

    /// <summary>Writes to the sink and keeps what did not fit. True when all is written.</summary>
    private bool Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_sink.Writer, bytes);
            if (count > 0)
            {
                bytes = bytes[count..];
            }
            else if (count == -1 && Errno.Last == Errno.EAGAIN)
            {
                _unsentOutput = bytes.ToArray();
                AwaitSinkRoom();
                return false;
            }
            else
            {
                // A full disk, for instance. The terminal must be read all the same, or the process would stand still for ever.
                if (!_outputLost)
                {
                    _outputLost = true;
                    _loop.Log($"output of a terminal is lost: {Errno.Exception("write").Message}");
                }

                break;
            }
        }

        _unsentOutput = [];
        if (_awaitsSinkRoom)
        {
            _awaitsSinkRoom = false;
            _sinkReady!.Arm(0);
        }

        return true;
    }

    /// <summary>
    /// Only while something waits to be written: otherwise every read of a client would wake this thread for nothing. And only once: arming
    /// reports room that is too small for us as well, and doing it at every attempt would be a busy loop.
    /// </summary>
    private void AwaitSinkRoom()
    {
        if (_awaitsSinkRoom)
        {
            return;
        }

        _awaitsSinkRoom = true;
        if (_sinkReady is null)
        {
            _sinkReady = _loop.Register(_sink.Writer, Libc.EPOLLOUT, _ => PumpOutput());
        }
        else
        {
            _sinkReady.Arm(Libc.EPOLLOUT);
        }
    }

    private void PumpInput()
    {
        if (_closed || _exited || _masterReady is null)
        {
            return;
        }

        for (var round = 0; round < MaxRounds; round++)
        {
            if ((_unsentInput.Length > 0 && !Type(_unsentInput)) || _inputEnded)
            {
                return;
            }

            var buffer = _loop.Scratch.AsSpan(0, InputChunk);
            var count = _source is null ? 0 : Fd.Read(_source.Reader, buffer);
            if (count > 0)
            {
                Type(buffer[..count]);
            }
            else if (count == -1)
            {
                if (Errno.Last != Errno.EAGAIN)
                {
                    _loop.Log($"input of a terminal is lost: {Errno.Exception("read").Message}");
                    CloseInput();
                }

                return;
            }
            else
            {
                // A FIFO ends when it was asked to, a file by itself, and nothing at all when it was asked to.
                if (_source is not null || _endInput)
                {
                    TypeEnd();
                }

                return;
            }
        }

        if (!_inputTurnPosted)
        {
            _inputTurnPosted = true;
            _loop.Post(() =>
            {
                _inputTurnPosted = false;
                PumpInput();
            });
        }
    }

    private void TypeEnd()
    {
        CloseInput();
        // In the middle of a line the first one only hands over what has been typed so far; a read of nothing takes a second one.
        _ = Type(_midLine ? [EndOfTransmission, EndOfTransmission] : [EndOfTransmission]);
    }

    /// <summary>Writes to the terminal and keeps what did not fit. True when all is written.</summary>
    private bool Type(ReadOnlySpan<byte> bytes)
    {
        var last = bytes[^1];
        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_master!, bytes);
            if (count > 0)
            {
                bytes = bytes[count..];
                continue;
            }

            // EAGAIN: the process does not read. EIO: nobody has the slave open just now.
            _unsentInput = bytes.ToArray();
            if (!_awaitsMasterRoom)
            {
                _awaitsMasterRoom = true;
                _masterReady!.Arm(Libc.EPOLLIN | Libc.EPOLLOUT);
            }

            return false;
        }

        _midLine = last != (byte)'\n';
        _unsentInput = [];
        if (_awaitsMasterRoom)
        {
            _awaitsMasterRoom = false;
            _masterReady!.Arm(Libc.EPOLLIN);
        }

        return true;
    }

    private void CloseInput()
    {
        _inputEnded = true;
        _sourceReady?.Dispose();
        _source?.Dispose();
    }

    private void Finish()
    {
        if (_closed)
        {
            return;
        }

        _closed = true;
        _masterReady?.Dispose();
        _sinkReady?.Dispose();
        lock (_masterLock)
        {
            _masterClosed = true;
            _master?.Dispose();
        }

        _sink.ReleaseWriter();
        _sink.End();
        _finished.TrySetResult();
    }
}
