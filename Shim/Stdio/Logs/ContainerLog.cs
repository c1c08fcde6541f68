using System.Diagnostics.CodeAnalysis;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio.Logs;

/// <summary>
/// One <c>log://</c> file with everybody who writes to it: one writer, whatever streams and processes there are. Only for the thread of
/// <see cref="StreamServices.LogLoop"/>, apart from the writing itself where the policy says so.
/// </summary>
/// <remarks>
/// <para>The policy <c>block</c> writes in place: when the disk is slow, the pipes of the processes fill, and they wait. When it is full, nothing
/// more is read until a later attempt succeeds.</para>
/// <para>The policy <c>drop</c> writes on a thread of its own, from one of two buffers, while the other one fills. When both are full, what
/// comes is read, counted and thrown away, and the record that says how much is written as soon as there is room.</para>
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "Close ends it, on the loop's thread.")]
internal sealed class ContainerLog
{
    // Formatted records that may wait for the disk.
    private const int MaxPending = 1024 * 1024;

    // Buffers beyond this are given back when it is quiet.
    private const int KeptBytes = 64 * 1024;

    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_quiet = TimeSpan.FromSeconds(2);

    private readonly StreamServices _services;
    private readonly LogFile _file;
    private readonly List<LogSink> _sinks = [];
    private readonly List<TaskCompletionSource> _reopenings = [];
    private readonly LogThread? _thread;
    private readonly ITimer _timer;
    private LogBuffer _pending = new();
    private LogBuffer _writing = new();

    // How often the buffers were exchanged, and how many of those that were to be written have been.
    private long _begun;
    private long _finished;
    private bool _busy;
    private bool _stalled;
    private bool _resume;
    private bool _timerArmed;
    private bool _closed;
    private bool _closing;
    private bool _told;

    internal ContainerLog(StreamAddress address, StreamServices services)
    {
        (_services, Address) = (services, address);
        Options = address.Log!;
        _file = LogFile.Open(new LogDirectory(services.LogDirectories.OpenDirectoryOf(address)), Path.GetFileName(address.Path), Options, services.LogLoop.Log);
        _timer = Clock.NewTimer(() => services.LogLoop.Post(Elapsed));
        _thread = Options.DropWhenFull ? new LogThread() : null;
    }

    /// <summary>Where it is, as the first one who opened it said.</summary>
    internal StreamAddress Address { get; }

    /// <summary>How it is written.</summary>
    internal LogOptions Options { get; }

    /// <summary>How many have it open. Guarded by <see cref="ContainerLogs"/>.</summary>
    internal int Users { get; set; }

    /// <summary>Whether records can be added now.</summary>
    internal bool HasRoom => !_closed && _pending.Length < MaxPending && (!_stalled || Options.DropWhenFull);

    /// <summary>Where records go; <see cref="Write"/> must be called soon after.</summary>
    internal LogBuffer Buffer => _pending;

    internal void Add(LogSink sink) => _sinks.Add(sink);

    /// <summary>Forgets a sink that has ended and whose records are written, or are given up.</summary>
    internal void Remove(LogSink sink) => _sinks.Remove(sink);

    /// <summary>What was added so far, as a number for <see cref="IsWritten"/>: others may go on adding all the time.</summary>
    internal long Added => _pending.Length > 0 ? _begun + 1 : _begun;

    /// <summary>Whether everything is written that had been added when <see cref="Added"/> was asked.</summary>
    internal bool IsWritten(long added) => _finished >= added;

    /// <summary>Somebody could not add a record: all are told to go on when there is room.</summary>
    internal void AwaitRoom() => _resume = true;

    /// <summary>Writes what has been added, or sees to it that it will be written.</summary>
    internal void Write()
    {
        while (!_busy && !_stalled && !_closed)
        {
            if (_writing.Length == 0 && _pending.Length > 0)
            {
                (_writing, _pending) = (_pending, _writing);
                _begun++;
            }

            if (_writing.Length == 0 && _reopenings.Count == 0)
            {
                break;
            }

            // Whoever asks from now on asks for one more.
            var reopenings = _reopenings.ToArray();
            _reopenings.Clear();
            _busy = true;
            if (_thread is not null)
            {
                WriteElsewhere(_thread, reopenings);
                return;
            }

            Answer(reopenings, ReopenFor(reopenings));
            Written(WriteOut());
        }
    }

    /// <summary>Opens the file anew, after somebody has renamed it.</summary>
    internal Task ReopenAsync()
    {
        var reopening = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _services.LogLoop.Post(() =>
        {
            if (_closed)
            {
                reopening.SetResult();
                return;
            }

            _reopenings.Add(reopening);
            _stalled = false;
            Write();
        });
        return reopening.Task;
    }

    /// <summary>The last user has gone. What cannot be written now is lost.</summary>
    internal void Close() => _services.LogLoop.Post(() =>
    {
        _closing = true;
        _stalled = false;
        Write();
        CloseIfIdle();
    });

    private void CloseIfIdle()
    {
        if (!_closing || _busy || _closed)
        {
            return;
        }

        _closed = true;
        if (_pending.Length + _writing.Length > 0)
        {
            _services.LogLoop.Log($"{Address.Path}: {_pending.Length + _writing.Length} bytes of records could not be written");
        }

        _timer.Dispose();
        _thread?.Dispose();
        _file.Dispose();
    }

    private void WriteElsewhere(LogThread thread, TaskCompletionSource[] reopenings) => thread.Submit(() =>
    {
        var failure = ReopenFor(reopenings);
        var error = WriteOut();
        _services.LogLoop.Post(() =>
        {
            Answer(reopenings, failure);
            Written(error);
            Write();
            CloseIfIdle();
        });
    });

    private Exception? ReopenFor(TaskCompletionSource[] reopenings) => reopenings.Length > 0 ? _file.Reopen() : null;

    private void Answer(TaskCompletionSource[] reopenings, Exception? failure)
    {
        foreach (var reopening in reopenings)
        {
            if (failure is null)
            {
                reopening.TrySetResult();
            }
            else
            {
                reopening.TrySetException(failure is NativeException native ? Address.Failure(native) : failure);
            }
        }
    }

    private int WriteOut()
    {
        while (_writing.Length > 0)
        {
            var count = _file.Write(_writing.Bytes);
            if (count <= 0)
            {
                return _file.LastError;
            }

            _writing.Consume(count);
        }

        return 0;
    }

    private void Written(int error)
    {
        _busy = false;
        if (error != 0)
        {
            if (!_told)
            {
                _told = true;
                _services.LogLoop.Log($"{Address.Path} cannot be written: {new NativeException("write", error).Message}; the container's output {(Options.DropWhenFull ? "is dropped" : "waits")}");
            }

            _stalled = true;
            _timer.Set(s_retry);
            return;
        }

        if (_told)
        {
            _told = false;
            _services.LogLoop.Log($"{Address.Path} can be written again");
        }

        if (_resume)
        {
            _resume = false;
            _services.LogLoop.Post(() =>
            {
                foreach (var sink in _sinks.ToArray())
                {
                    sink.Pump();
                }
            });
        }

        _finished = _begun;
        foreach (var sink in _sinks.ToArray())
        {
            sink.Written();
        }

        if (!_timerArmed && Math.Max(_pending.Capacity, _writing.Capacity) > KeptBytes)
        {
            _timerArmed = true;
            _timer.Set(s_quiet);
        }
    }

    /// <summary>Tries again to write, or gives memory back: one shot, so that an idle log never wakes up.</summary>
    private void Elapsed()
    {
        _timerArmed = false;
        if (_closed || _busy)
        {
            return;
        }

        if (_stalled)
        {
            _stalled = false;
            Write();
        }
        else if (IsWritten(Added))
        {
            (_pending, _writing) = (new LogBuffer(), new LogBuffer());
            _services.LogLoop.ReleaseScratch();
            _services.Released?.Invoke();
        }
    }
}
