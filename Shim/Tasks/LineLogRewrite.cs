using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Tasks;

/// <summary>
/// A new file that takes the place of a log in one step: whoever opens the name finds the old lines or the new ones, also when this process dies
/// in the middle. Nothing is synced: after a loss of power there is no container either that the lines would be about.
/// </summary>
internal sealed class LineLogRewrite : IDisposable
{
    /// <summary>What the name of the new file ends with until it is complete.</summary>
    internal const string Suffix = ".new";

    private readonly string _path;
    private readonly byte[] _buffer = new byte[32 * 1024];
    private SafeFileHandle? _file;
    private int _buffered;
    private long _length;

    private LineLogRewrite(string path, SafeFileHandle file) => (_path, _file) = (path, file);

    /// <summary>Begins a new file beside the one at <paramref name="path"/>.</summary>
    internal static LineLogRewrite Begin(string path) =>
        new(path, Fd.Open(path + Suffix, Libc.O_RDWR | Libc.O_CREAT | Libc.O_TRUNC | Libc.O_NOFOLLOW, 0x180));

    /// <summary>Removes what a process has left that died in the middle.</summary>
    internal static void RemoveUnfinished(string path)
    {
        if (File.Exists(path + Suffix))
        {
            File.Delete(path + Suffix);
        }
    }

    /// <summary>Adds a line, without its line feed.</summary>
    internal void Add(ReadOnlySpan<byte> line)
    {
        if (_buffered + line.Length + 1 > _buffer.Length)
        {
            Flush();
        }

        if (line.Length + 1 > _buffer.Length)
        {
            Write(line);
            Write("\n"u8);
            return;
        }

        line.CopyTo(_buffer.AsSpan(_buffered));
        _buffer[_buffered + line.Length] = (byte)'\n';
        _buffered += line.Length + 1;
    }

    /// <summary>Puts the new file into the place of the old one.</summary>
    internal LineLog Finish()
    {
        Flush();
        File.Move(_path + Suffix, _path, overwrite: true);
        var log = LineLog.Of(_file!, _path, _length);
        _file = null;
        return log;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_file is not null)
        {
            _file.Dispose();
            File.Delete(_path + Suffix);
        }
    }

    private void Flush()
    {
        Write(_buffer.AsSpan(0, _buffered));
        _buffered = 0;
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        RandomAccess.Write(_file!, bytes, _length);
        _length += bytes.Length;
    }
}
