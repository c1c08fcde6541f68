namespace Shim.Interop;

/// <summary>
/// A terminal that hands every byte through, from <see cref="Enter"/> until it is disposed. Then it has its old settings back.
/// Disposing twice, from any thread, is harmless: whoever ends the program may do it.
/// </summary>
internal sealed unsafe class RawTerminal : IDisposable
{
    private readonly int _fd;
    private readonly Libc.Termios _before;
    private int _restored;

    private RawTerminal(int fd, Libc.Termios before)
    {
        _fd = fd;
        _before = before;
    }

    /// <summary>Whether descriptor <paramref name="fd"/> is a terminal.</summary>
    internal static bool IsTerminal(int fd) => Libc.IsATty(fd) == 1;

    /// <summary>The size of the terminal behind <paramref name="fd"/>, or null when it has none.</summary>
    internal static (ushort Columns, ushort Rows)? SizeOf(int fd)
    {
        Libc.WindowSize size;
        return Libc.Ioctl(fd, Libc.TIOCGWINSZ, &size) == 0 && size is { Columns: > 0, Rows: > 0 } ? (size.Columns, size.Rows) : null;
    }

    /// <summary>Switches the terminal behind <paramref name="fd"/> to raw mode: no echo, no line editing, no signals from keys.</summary>
    internal static RawTerminal Enter(int fd)
    {
        Libc.Termios before;
        if (Libc.TcGetAttr(fd, &before) == -1)
        {
            throw Errno.Exception("tcgetattr");
        }

        var raw = before;
        Libc.CfMakeRaw(&raw);
        return Libc.TcSetAttr(fd, Libc.TCSANOW, &raw) == 0 ? new RawTerminal(fd, before) : throw Errno.Exception("tcsetattr");
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _restored, 1) == 0)
        {
            var before = _before;
            Libc.TcSetAttr(_fd, Libc.TCSANOW, &before);
        }
    }
}
