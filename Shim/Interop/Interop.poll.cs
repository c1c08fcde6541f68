using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    internal const short POLLIN = 1;
    internal const short POLLOUT = 4;
    internal const short POLLERR = 8;
    internal const short POLLHUP = 16;

    [LibraryImport(Libraries.Libc, EntryPoint = "poll", SetLastError = true)]
    internal static partial int Poll(PollFd* descriptors, nuint count, int timeoutMilliseconds);

    /// <summary>What holds for one descriptor at this moment (POLLERR and POLLHUP are always reported). Never blocks.</summary>
    internal static short PollNow(SafeHandle handle, short events)
    {
        var descriptor = new PollFd { Descriptor = Fd.Number(handle), Events = events };
        while (Poll(&descriptor, 1, 0) == -1)
        {
            if (Errno.Last != Errno.EINTR)
            {
                throw Errno.Exception("poll");
            }
        }

        return descriptor.Returned;
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct PollFd
    {
        internal int Descriptor;
        internal short Events;
        internal short Returned;
    }
}
