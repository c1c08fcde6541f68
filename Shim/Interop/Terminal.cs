using System.Runtime.InteropServices;

namespace Shim.Interop;

/// <summary>The terminal ioctls that a master needs.</summary>
internal static unsafe class Terminal
{
    /// <summary>Whether the descriptor is a terminal at all.</summary>
    internal static bool Is(SafeHandle handle)
    {
        Libc.WindowSize size;
        return Libc.Ioctl(Fd.Number(handle), Libc.TIOCGWINSZ, &size) == 0;
    }

    /// <summary>Sets the window size; the kernel sends SIGWINCH to the foreground process group if it is another one than before.</summary>
    internal static void SetSize(SafeHandle handle, ushort columns, ushort rows)
    {
        var size = new Libc.WindowSize { Columns = columns, Rows = rows };
        if (Libc.Ioctl(Fd.Number(handle), Libc.TIOCSWINSZ, &size) == -1)
        {
            throw Errno.Exception("ioctl TIOCSWINSZ");
        }
    }
}
