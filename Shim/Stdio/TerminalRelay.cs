using System.Diagnostics.CodeAnalysis;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// Carries the bytes of one terminal: stdin address to master, master to stdout address, and the same for every client that attaches
/// himself later. All of it happens on the loop's thread; the other methods only post there.
/// </summary>
/// <remarks>
/// <para>What could not be written at once is kept, and nothing more is read until it has gone: never more than one buffer
/// per direction is in memory, and a client that does not read makes the process wait, as a pipe would.</para>
/// <para>A read of the master answers EIO while nobody has the slave open. That is not the end yet: a process can close its
/// terminal and open it again. It is the end once the process has exited. The kernel flushes what is under way in the terminal before it
/// says EIO or EAGAIN, so nothing written before the exit can come after that answer. When a background child still has the slave open
/// after the exit, the relay goes on until it closes, or until the streams are drained.</para>
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "Close ends it, on the loop's thread.")]
internal sealed class TerminalRelay
{
    // One direction's turn; then other terminals get theirs.
    private const int MaxRounds = 8;

    private readonly EventLoop _loop;
    private readonly OutputSink _sink;
    private readonly string _sinkAddress;
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _masterLock = new();

    // Guarded by _masterLock.
    private SafeFileHandle? _master;
    private (ushort Columns, ushort Rows)? _size;
    private bool _masterClosed;

    // Only touched on the loop's thread.
    private EventLoop.Registration? _masterReady;
    private EventLoop.Registration? _sinkReady;
    private readonly AttachedOutputs _attached;
    private readonly TerminalInputs _inputs;
    private byte[] _unsentOutput = [];
    private bool _awaitsSinkRoom;
    private bool _outputTurnPosted;
    private bool _exited;
    private bool _draining;
    private bool _closed;
    private bool _outputLost;
    private bool _sinkGone;

    /// <param name="loop">Where everything happens.</param>
    /// <param name="source">The process's own stdin address; null when it has none.</param>
    /// <param name="sink">The process's own stdout address. The process waits for it, unlike for those who attach themselves.</param>
    /// <param name="sinkAddress">The address of <paramref name="sink"/> as the client gave it.</param>
    /// <param name="size">The size to begin with.</param>
    internal TerminalRelay(EventLoop loop, InputSource? source, OutputSink sink, string sinkAddress, (ushort Columns, ushort Rows)? size)
    {
        (_loop, _sink, _sinkAddress, _size) = (loop, sink, sinkAddress, size);
        _attached = new AttachedOutputs(loop);
        _inputs = new TerminalInputs(loop, room => _masterReady!.Arm(room ? Libc.EPOLLIN | Libc.EPOLLOUT : Libc.EPOLLIN));
        if (source is not null)
        {
            _inputs.Add(source, isMain: true, sinkAddress);
        }
    }

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
    internal void EndInput() => _loop.Post(_inputs.End);

    /// <summary>One more client: he gets a copy of what comes from now on, and may type. False when the terminal is closed.</summary>
    internal async Task<bool> AttachClientAsync(InputSource? source, StreamAddress? output)
    {
        if (output is not null && !await _attached.AddAsync(output).ConfigureAwait(false))
        {
            return false;
        }

        return source is null || await _loop.RunAsync(() =>
        {
            if (_closed || _exited)
            {
                return false;
            }

            _inputs.Add(source, isMain: false, output?.Given ?? "");
            return true;
        }).ConfigureAwait(false);
    }

    /// <summary>Lets go of the client with this output, who leaves on purpose. False when there is none.</summary>
    internal async Task<bool> DetachClientAsync(string output)
    {
        var found = await _attached.RemoveAsync(output).ConfigureAwait(false);
        return await _loop.RunAsync(() =>
        {
            found |= !_sinkGone && _sink.CanWait && output == _sinkAddress;
            _inputs.Remove(output);
            if (!_sinkGone && output == _sinkAddress)
            {
                LoseSink();
            }

            return found;
        }).ConfigureAwait(false);
    }

    /// <summary>The process has exited: the next EIO is the end.</summary>
    internal void ProcessExited() => _loop.Post(() =>
    {
        _exited = true;
        _inputs.Close();
        PumpOutput();
    });

    /// <summary>Ends as soon as what has been written to the terminal so far is handed on.</summary>
    internal void Drain() => _loop.Post(() =>
    {
        _exited = true;
        _draining = true;
        _inputs.Close();
        PumpOutput();
    });

    /// <summary>Closes everything at once.</summary>
    internal void Close() => _loop.Post(() =>
    {
        _inputs.Close();
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
            if (_sink is ClientFifo && !_sinkGone)
            {
                // Nothing to wait for yet, but his leaving is always told.
                _sinkReady = _loop.Register(_sink.Writer, 0, OnSink);
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
        if (!_closed)
        {
            _inputs.Begin(_master!);
        }
    }

    private void OnMaster(uint events)
    {
        if ((events & ~Libc.EPOLLOUT) != 0)
        {
            PumpOutput();
        }

        if (_inputs.AwaitsRoom)
        {
            _inputs.Pump();
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
            _attached.Offer(buffer.AsSpan(0, filled));
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
        while (!bytes.IsEmpty && !_sinkGone)
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
            else if (_sink is ClientFifo)
            {
                LoseClient();
                return !_closed;
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
            _sinkReady = _loop.Register(_sink.Writer, Libc.EPOLLOUT, OnSink);
        }
        else
        {
            _sinkReady.Arm(Libc.EPOLLOUT);
        }
    }

    private void OnSink(uint events)
    {
        if ((events & Libc.EPOLLERR) != 0 && _sink is ClientFifo)
        {
            LoseClient();
        }

        PumpOutput();
    }

    /// <summary>The client who had this terminal in front of him has gone without a word.</summary>
    private void LoseClient()
    {
        if (_sinkGone)
        {
            return;
        }

        _inputs.Remove(_sinkAddress);
        LoseSink();
        if (((ClientFifo)_sink).OnDisconnect == OnDisconnect.Hangup)
        {
            // The kernel hangs up: SIGHUP to the session's leader and the foreground, and an end to every read.
            _inputs.Close();
            Finish();
        }
    }

    /// <summary>From now on only those who have attached themselves see the output.</summary>
    private void LoseSink()
    {
        _sinkGone = true;
        _unsentOutput = [];
        _awaitsSinkRoom = false;
        _sinkReady?.Dispose();
        _sink.Dispose();
        _loop.Post(PumpOutput);
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
        _attached.Dispose();
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
