using System.Diagnostics.CodeAnalysis;
using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio.Logs;

/// <summary>
/// The file of a log, with its predecessors: <c>name</c>, <c>name.1</c> (the newest of the old ones), <c>name.2</c> and so on. A record is never split
/// over two files, whatever the disk does in the middle of it.
/// </summary>
internal sealed class LogFile : IDisposable
{
    // After a failed rotation: how much more is written before it is tried again.
    private const int RetryAfter = 1024 * 1024;

    private readonly LogDirectory _directory;
    private readonly string _name;
    private readonly LogOptions _options;
    private readonly Action<string> _log;
    private SafeFileHandle _file;
    private long _size;
    private long _rotateAt;
    private bool _midRecord;
    private bool _afterTornRecord;
    private bool _reopen;
    private bool _complained;

    private LogFile(LogDirectory directory, string name, LogOptions options, Action<string> log, SafeFileHandle file)
    {
        (_directory, _name, _options, _log) = (directory, name, options, log);
        Use(file);
    }

    private string Next => $"{_name}.new";

    /// <summary>The error number of the last <see cref="Write"/> that failed.</summary>
    internal int LastError { get; private set; }

    /// <summary>Opens the file, which may have records already.</summary>
    /// <param name="directory">Where it lies. Owned from now on.</param>
    /// <param name="name">Its name there.</param>
    /// <param name="options">When it is rotated, and how many are kept.</param>
    /// <param name="log">Told of failures that cost nothing but order, one line each.</param>
    internal static LogFile Open(LogDirectory directory, string name, LogOptions options, Action<string> log)
    {
        try
        {
            return new LogFile(directory, name, options, log, directory.Open(name));
        }
        catch
        {
            directory.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes some of the <paramref name="records"/>, and returns how many bytes of them; -1 when the disk refuses (<see cref="LastError"/>). The next
    /// call must go on with the next byte.
    /// </summary>
    internal int Write(ReadOnlySpan<byte> records)
    {
        if (!_midRecord)
        {
            if (_reopen)
            {
                _ = Reopen();
            }

            if (_options.MaxSize > 0 && _size > 0 && _size + RecordLength(records) > _rotateAt)
            {
                Rotate();
            }

            if (_afterTornRecord)
            {
                // Whoever wrote here before us has died in the middle of a record.
                if (WriteOut("\n"u8) < 0)
                {
                    return -1;
                }

                _afterTornRecord = false;
            }
        }

        return WriteOut(records[..Portion(records)]);
    }

    /// <summary>
    /// Opens the name anew, for somebody has renamed the file; in the middle of a record, as soon as that is whole. Returns why it could not be
    /// opened; then the old file stays in use.
    /// </summary>
    internal Exception? Reopen()
    {
        _reopen = _midRecord;
        if (_midRecord)
        {
            return null;
        }

        try
        {
            Use(_directory.Open(_name));
            return null;
        }
        catch (Exception e) when (e is NativeException or TaskException)
        {
            return e;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file.Dispose();
        _directory.Dispose();
    }

    private int WriteOut(ReadOnlySpan<byte> bytes)
    {
        var count = Fd.Write(_file, bytes);
        if (count <= 0)
        {
            LastError = count == 0 ? Errno.ENOSPC : Errno.Last;
            return -1;
        }

        _size += count;
        _midRecord = bytes[count - 1] != (byte)'\n';
        return count;
    }

    /// <summary>Opens a file for all that follows, or throws and leaves everything as it is.</summary>
    [MemberNotNull(nameof(_file))]
    private void Use(SafeFileHandle file)
    {
        try
        {
            using var reader = Descriptors.Reopen(file, Libc.O_RDONLY);
            var size = RandomAccess.GetLength(reader);
            Span<byte> last = stackalloc byte[1];
            _afterTornRecord = size > 0 && RandomAccess.Read(reader, last, size - 1) == 1 && last[0] != (byte)'\n';
            (_size, _rotateAt) = (size, _options.MaxSize);
        }
        catch (Exception e)
        {
            file.Dispose();
            throw e is NativeException ? e : new NativeException("read", Errno.EIO, _name);
        }

        _file?.Dispose();
        _file = file;
    }

    /// <summary>How much to write at once: whole records that fit, one in any case; the rest of one that is begun.</summary>
    private int Portion(ReadOnlySpan<byte> records)
    {
        if (_options.MaxSize == 0)
        {
            return records.Length;
        }

        var room = Math.Max(0, Math.Min(records.Length, _rotateAt - _size));
        var whole = _midRecord ? 0 : records[..(int)room].LastIndexOf((byte)'\n') + 1;
        return whole > 0 ? whole : RecordLength(records);
    }

    private static int RecordLength(ReadOnlySpan<byte> records)
    {
        var end = records.IndexOf((byte)'\n');
        return end < 0 ? records.Length : end + 1;
    }

    /// <summary>Begins a new file. Whatever fails, none is lost, and the current one can go on.</summary>
    private void Rotate()
    {
        try
        {
            // This is what is most likely to fail, so it comes before anything has a new name.
            _directory.Delete(Next);
            var file = _directory.Open(Next);
            try
            {
                if (_options.MaxFiles > 1)
                {
                    MakeRoom();
                    _directory.Rename(_name, Old(1));
                }

                _directory.Rename(Next, _name);
            }
            catch
            {
                file.Dispose();
                _directory.Delete(Next);
                throw;
            }

            Use(file);
            _complained = false;
        }
        catch (Exception e) when (e is NativeException or TaskException)
        {
            // Better one file that is too large than a record that is lost.
            _rotateAt = _size + Math.Max(RetryAfter, _options.MaxSize / 4);
            if (!_complained)
            {
                _complained = true;
                _log($"the log {_name} cannot be rotated, and grows: {e.Message}");
            }
        }
    }

    /// <summary>Renames the old files so that the newest place is free; if it is, or another one, since an attempt failed, no file is given up.</summary>
    private void MakeRoom()
    {
        var free = 1;
        while (free < _options.MaxFiles - 1 && _directory.Exists(Old(free)))
        {
            free++;
        }

        for (; free > 1; free--)
        {
            _directory.Rename(Old(free - 1), Old(free));
        }
    }

    private string Old(int age) => $"{_name}.{age}";
}
