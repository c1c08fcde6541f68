using System.Runtime.InteropServices;

namespace Shim.Interop;

/// <summary>The error numbers that this code tells apart (x86-64 and arm64 Linux agree on them).</summary>
internal static class Errno
{
    internal const int EPERM = 1;
    internal const int ENOENT = 2;
    internal const int ESRCH = 3;
    internal const int EINTR = 4;
    internal const int EIO = 5;
    internal const int ENXIO = 6;
    internal const int EBADF = 9;
    internal const int ECHILD = 10;
    internal const int EAGAIN = 11;
    internal const int ENOMEM = 12;
    internal const int EACCES = 13;
    internal const int EBUSY = 16;
    internal const int EEXIST = 17;
    internal const int EXDEV = 18;
    internal const int ENODEV = 19;
    internal const int ENOTDIR = 20;
    internal const int EINVAL = 22;
    internal const int ENFILE = 23;
    internal const int EMFILE = 24;
    internal const int ENOSPC = 28;
    internal const int EPIPE = 32;
    internal const int ENAMETOOLONG = 36;
    internal const int ELOOP = 40;
    internal const int EADDRINUSE = 98;
    internal const int ECONNREFUSED = 111;

    /// <summary>errno of the last native call on this thread that asked for it.</summary>
    internal static int Last => Marshal.GetLastPInvokeError();

    /// <summary>The last error of <paramref name="call"/> as an exception, with the kernel's text.</summary>
    internal static NativeException Exception(string call, string? subject = null) => new(call, Last, subject);
}
