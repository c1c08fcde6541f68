using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    // glibc has no wrapper; the number is the same on every architecture.
    private const nint SYS_openat2 = 437;
    private const ulong RESOLVE_NO_MAGICLINKS = 0x02;
    private const ulong RESOLVE_IN_ROOT = 0x10;

    [LibraryImport(Libraries.Libc, EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint SyscallOpenAt2(nint number, nint directory, string path, OpenHow* how, nint size);

    /// <summary>
    /// Opens <paramref name="path"/> for reading as a process with <paramref name="root"/> as its root directory would: links, absolute
    /// ones and ".." included, never lead out of it. Does not block on a FIFO. Null when there is no such file.
    /// </summary>
    internal static SafeFileHandle? OpenInRoot(SafeHandle root, string path)
    {
        var how = new OpenHow
        {
            Flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
            Resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        nint fd;
        do
        {
            fd = SyscallOpenAt2(SYS_openat2, Fd.Number(root), path, &how, sizeof(OpenHow));
        }
        while (fd == -1 && Errno.Last == Errno.EINTR);
        return fd == -1 && Errno.Last is (Errno.ENOENT or Errno.ENOTDIR) ? null : Fd.Own((int)fd, "openat2", path);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct OpenHow
    {
        internal ulong Flags;
        internal ulong Mode;
        internal ulong Resolve;
    }
}
