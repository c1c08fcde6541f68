using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio.Logs;

/// <summary>
/// One stream of one process on its way into a log: the process writes into a pipe, and here it is read. Goes on until nobody has the pipe
/// open any more, so also a background child that outlives its process is heard.
/// </summary>
internal sealed class LogSink : OutputSink
{
    // Turns of one stream before others get theirs.
    private const int MaxRounds = 16;

    // Formatted at a time: empty lines become ninety times as large, and all that is formatted must fit into memory.
    private const int Slice = 16 * 1024;
    private const int WriteAt = 128 * 1024;

    private const int LargePipe = 1024 * 1024;

    private readonly StreamServices _services;
    private readonly ContainerLog _log;
    private readonly LogRecords _records;
    private readonly SafeFileHandle _reader;
    private readonly AttachedOutputs _attached;
    private readonly EventLoop.Registration _readable;
    private readonly TaskCompletionSource _delivered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Only touched on the loop's thread.
    private long _dropped;
    private bool _pipeIsLarge;
    private bool _turnPosted;
    private bool _atEnd;
    private long _added;
    private bool _abandoned;
    private bool _closed;

    private LogSink(StreamServices services, ContainerLog log, LogStream stream, SafeFileHandle reader, SafeFileHandle writer)
        : base(writer)
    {
        (_services, _log, _reader) = (services, log, reader);
        PipeName = RelayPipe.NameOf(reader);
        _records = new LogRecords(log.Options.Format, stream);
        _attached = new AttachedOutputs(services.LogLoop);
        _readable = services.LogLoop.Register(reader, Libc.EPOLLIN, _ => Pump());
        services.LogLoop.Post(() => _log.Add(this));
    }

    internal override bool CanWait => true;

    internal override Task Delivered => _delivered.Task;

    internal override AttachedOutputs Attached => _attached;

    internal override bool IsOurs => true;

    internal override string PipeName { get; }

    /// <summary>Opens the log of an address for one stream.</summary>
    /// <param name="address">A log's address.</param>
    /// <param name="stream">What the records say.</param>
    /// <param name="blocking">Whether <see cref="OutputSink.Writer"/> blocks: yes for a process, no for a relay.</param>
    /// <param name="services">Keeps the open logs.</param>
    /// <param name="found">A pipe that a process has already; else one is made.</param>
    internal static LogSink Open(
        StreamAddress address, LogStream stream, bool blocking, StreamServices services, (SafeFileHandle Reader, SafeFileHandle Writer)? found = null)
    {
        var log = services.Logs.Open(address);
        try
        {
            var (reader, writer) = found ?? RelayPipe.Open(blocking);
            try
            {
                return new LogSink(services, log, stream, reader, writer);
            }
            catch
            {
                reader.Dispose();
                writer.Dispose();
                throw;
            }
        }
        catch
        {
            services.Logs.Release(log);
            throw;
        }
    }

    internal override void End()
    {
    }

    internal override void Recheck()
    {
    }

    /// <summary>Nobody waits for the rest any more: it is still read to its end, but no longer at the price of waiting for a disk.</summary>
    public override void Dispose()
    {
        base.Dispose();
        _services.LogLoop.Post(() =>
        {
            _abandoned = true;
            if (_atEnd)
            {
                Close();
            }
            else
            {
                Pump();
            }
        });
    }

    /// <summary>Reads what there is. On the loop's thread.</summary>
    internal void Pump()
    {
        for (var round = 0; round < MaxRounds && !_atEnd; round++)
        {
            if (!_log.HasRoom && !_log.Options.DropWhenFull && !_abandoned)
            {
                _log.AwaitRoom();
                return;
            }

            var buffer = _services.LogLoop.Scratch;
            var count = Fd.Read(_reader, buffer);
            if (count < 0 && Errno.Last == Errno.EAGAIN)
            {
                return;
            }

            if (count <= 0)
            {
                ReachEnd();
                return;
            }

            if (count == buffer.Length && !_pipeIsLarge)
            {
                // It is filled faster than we look. A wish: pipes of this user may be at their limit.
                _pipeIsLarge = true;
                _ = Libc.Fcntl(Fd.Number(_reader), Libc.F_SETPIPE_SZ, LargePipe);
            }

            Take(buffer.AsSpan(0, count));
        }

        if (!_atEnd && !_turnPosted)
        {
            _turnPosted = true;
            _services.LogLoop.Post(() =>
            {
                _turnPosted = false;
                Pump();
            });
        }
    }

    /// <summary>More of what was added to the log is in the file.</summary>
    internal void Written()
    {
        if (_atEnd && _log.IsWritten(_added))
        {
            Close();
        }
    }

    private void Take(ReadOnlySpan<byte> bytes)
    {
        _attached.Offer(bytes);
        var now = DateTime.UtcNow;
        while (!bytes.IsEmpty)
        {
            if (!_log.HasRoom)
            {
                _dropped += bytes.Length;
                _log.AwaitRoom();
                return;
            }

            TellOfGap(now);
            var slice = bytes[..Math.Min(bytes.Length, Slice)];
            _records.Append(slice, now, _log.Buffer);
            bytes = bytes[slice.Length..];
            if (bytes.IsEmpty || _log.Buffer.Length >= WriteAt)
            {
                _log.Write();
            }
        }
    }

    private void TellOfGap(DateTime now)
    {
        if (_dropped > 0)
        {
            _records.Gap(_dropped, now, _log.Buffer);
            _dropped = 0;
        }
    }

    private void ReachEnd()
    {
        _atEnd = true;
        _readable.Dispose();
        _reader.Dispose();
        _attached.Dispose();
        var now = DateTime.UtcNow;
        TellOfGap(now);
        _records.End(now, _log.Buffer);
        _added = _log.Added;
        _log.Write();
        if (_log.IsWritten(_added) || _abandoned)
        {
            Close();
        }
    }

    private void Close()
    {
        if (!_closed)
        {
            _closed = true;
            _log.Remove(this);
            _services.Logs.Release(_log);
            _delivered.TrySetResult();
        }
    }
}
