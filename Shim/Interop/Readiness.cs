using System.Runtime.InteropServices;

namespace Shim.Interop;

/// <summary>Waits on one descriptor.</summary>
internal static unsafe class Readiness
{
    /// <summary>Blocks until <paramref name="handle"/> is ready for <paramref name="events"/>, has an error or has hung up; false after the time.</summary>
    internal static bool Wait(SafeHandle handle, short events, int timeoutMilliseconds)
    {
        var descriptor = new Libc.PollFd { Descriptor = Fd.Number(handle), Events = events };
        int count;
        do
        {
            count = Libc.Poll(&descriptor, 1, timeoutMilliseconds);
        }
        while (count == -1 && Errno.Last == Errno.EINTR);
        return count >= 0 ? count > 0 : throw Errno.Exception("poll");
    }
}
