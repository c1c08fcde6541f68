using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Tasks;

/// <summary>
/// An append-only file of lines: one writer, any number of readers that each keep their own place. What has been appended is in the
/// file before any reader can see it, so a reader never knows more than a successor of this process would. Memory does not grow with
/// slow readers: they read the file. A process that dies in the middle of a line leaves a torn one; the next open cuts it off.
/// </summary>
internal sealed class LineLog : IDisposable
{
    private readonly Lock _lock = new();
    private readonly SafeFileHandle _file;
    private readonly string _path;
    private long _length;
    private TaskCompletionSource? _growth;

    private LineLog(SafeFileHandle file, string path, long length)
    {
        _file = file;
        _path = path;
        _length = length;
    }

    /// <summary>Nothing more will be appended or read.</summary>
    internal bool IsClosed => _file.IsClosed;

    /// <summary>Bytes of complete lines.</summary>
    internal long Length => Volatile.Read(ref _length);

    /// <summary>Where the file was cut when it was opened, and how much of a torn last line that was.</summary>
    internal (long Offset, long Bytes) Cut { get; private init; }

    /// <summary>A file that was just written: nothing but <paramref name="length"/> bytes of complete lines. The log owns it.</summary>
    internal static LineLog Of(SafeFileHandle file, string path, long length) => new(file, path, length);

    /// <summary>Opens a file that is only to be read, and is left as it is: a torn last line is not seen.</summary>
    internal static LineLog OpenForReading(string path)
    {
        var file = Fd.Open(path, Libc.O_RDONLY | Libc.O_NOFOLLOW);
        try
        {
            var size = RandomAccess.GetLength(file);
            var complete = EndOfLastLine(file, size);
            return new LineLog(file, path, complete) { Cut = (complete, size - complete) };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Opens or creates (0600) the file and cuts off a torn last line.</summary>
    internal static LineLog Open(string path)
    {
        var file = Fd.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_NOFOLLOW, 0x180);
        try
        {
            var size = RandomAccess.GetLength(file);
            var complete = EndOfLastLine(file, size);
            if (complete < size)
            {
                RandomAccess.SetLength(file, complete);
            }

            return new LineLog(file, path, complete) { Cut = (complete, size - complete) };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Appends one line (without its line feed, which must not occur in it). When this throws, because the disk is full for instance,
    /// nothing of the line is in the file.
    /// </summary>
    internal void Append(ReadOnlySpan<byte> line)
    {
        var bytes = new byte[line.Length + 1];
        line.CopyTo(bytes);
        bytes[^1] = (byte)'\n';
        TaskCompletionSource? growth;
        lock (_lock)
        {
            try
            {
                RandomAccess.Write(_file, bytes, _length);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                CutTo(_length);

                // Of a file that was opened by its descriptor .NET does not know the name.
                throw new IOException($"write {_path}: {e.Message}", e) { HResult = e.HResult };
            }

            Volatile.Write(ref _length, _length + bytes.Length);
            growth = _growth;
            _growth = null;
        }

        growth?.TrySetResult();
    }

    /// <summary>A reader that starts at <paramref name="offset"/>, which must be the start of a line. For one task at a time.</summary>
    internal Reader ReadFrom(long offset = 0) => new(this, offset);

    /// <summary>Completes when the log is longer than <paramref name="length"/>, or when it is closed.</summary>
    internal Task WaitForGrowthAsync(long length, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_length > length || _file.IsClosed)
            {
                return Task.CompletedTask;
            }

            _growth ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _growth.Task.WaitAsync(cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        TaskCompletionSource? growth;
        lock (_lock)
        {
            _file.Dispose();
            growth = _growth;
            _growth = null;
        }

        growth?.TrySetResult();
    }

    /// <summary>A short write would leave half a line for the next append to continue.</summary>
    private void CutTo(long length)
    {
        try
        {
            RandomAccess.SetLength(_file, length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Then the next append writes over it.
        }
    }

    private static long EndOfLastLine(SafeFileHandle file, long size)
    {
        var buffer = new byte[4096];
        for (var end = size; end > 0;)
        {
            var start = Math.Max(0, end - buffer.Length);
            var count = RandomAccess.Read(file, buffer.AsSpan(0, (int)(end - start)), start);
            var feed = buffer.AsSpan(0, count).LastIndexOf((byte)'\n');
            if (feed >= 0)
            {
                return start + feed + 1;
            }

            end = start;
        }

        return 0;
    }

    /// <summary>Reads complete lines in order.</summary>
    internal sealed class Reader(LineLog log, long offset)
    {
        private byte[] _buffer = new byte[4096];
        private int _start;
        private int _end;

        /// <summary>Where the next line starts.</summary>
        internal long Offset { get; private set; } = offset;

        /// <summary>
        /// The next line, without its line feed, if there is a complete one. The memory is only valid until the next call.
        /// </summary>
        internal bool TryRead(out ReadOnlyMemory<byte> line)
        {
            while (true)
            {
                var feed = _buffer.AsSpan(_start, _end - _start).IndexOf((byte)'\n');
                if (feed >= 0)
                {
                    line = _buffer.AsMemory(_start, feed);
                    _start += feed + 1;
                    Offset += feed + 1;
                    return true;
                }

                if (log.IsClosed || !Fill())
                {
                    line = default;
                    return false;
                }
            }
        }

        /// <summary>Completes when there may be another line.</summary>
        internal Task WaitAsync(CancellationToken cancellationToken) => log.WaitForGrowthAsync(Offset, cancellationToken);

        private bool Fill()
        {
            var buffered = _end - _start;
            var left = log.Length - Offset - buffered;
            if (left <= 0)
            {
                return false;
            }

            if (_start > 0)
            {
                Array.Copy(_buffer, _start, _buffer, 0, buffered);
                (_start, _end) = (0, buffered);
            }

            if (_end == _buffer.Length)
            {
                Array.Resize(ref _buffer, _buffer.Length * 2);
            }

            int count;
            try
            {
                count = RandomAccess.Read(log._file, _buffer.AsSpan(_end, (int)Math.Min(left, _buffer.Length - _end)), Offset + buffered);
            }
            catch (ObjectDisposedException)
            {
                return false;
            }

            if (count == 0)
            {
                throw new IOException($"{log._path} became shorter while it was read");
            }

            _end += count;
            return true;
        }
    }
}
