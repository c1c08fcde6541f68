using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    [LibraryImport(Libraries.Libc, EntryPoint = "pipe2", SetLastError = true)]
    private static partial int Pipe2Core(int* descriptors, int flags);

    /// <summary>A pipe whose both ends are close-on-exec.</summary>
    internal static (SafeFileHandle Read, SafeFileHandle Write) Pipe()
    {
        var ends = stackalloc int[2];
        if (Pipe2Core(ends, O_CLOEXEC) == -1)
        {
            throw Errno.Exception("pipe2");
        }

        return (new SafeFileHandle(ends[0], ownsHandle: true), new SafeFileHandle(ends[1], ownsHandle: true));
    }
}
