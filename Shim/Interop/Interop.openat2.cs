using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    // glibc has no wrapper; the number is the same on every architecture.
    private const nint SYS_openat2 = 437;
    private const ulong RESOLVE_NO_MAGICLINKS = 0x02;
    private const ulong RESOLVE_NO_SYMLINKS = 0x04;
    private const ulong RESOLVE_BENEATH = 0x08;
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

    /// <summary>
    /// Opens a relative <paramref name="path"/> close-on-exec, and only if every step of it stays beneath <paramref name="directory"/> (EXDEV
    /// otherwise). Links are followed on the way if <paramref name="followLinks"/> is true, else they are refused (ELOOP). <paramref name="mode"/>
    /// counts only with O_CREAT.
    /// </summary>
    internal static SafeFileHandle OpenBeneath(SafeHandle directory, string path, int flags, uint mode = 0, bool followLinks = false)
    {
        var how = new OpenHow
        {
            Flags = (uint)(flags | O_CLOEXEC),
            Mode = mode,
            Resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (followLinks ? 0 : RESOLVE_NO_SYMLINKS),
        };
        nint fd;
        do
        {
            fd = SyscallOpenAt2(SYS_openat2, Fd.Number(directory), path, &how, sizeof(OpenHow));
        }
        while (fd == -1 && Errno.Last is (Errno.EINTR or Errno.EAGAIN));
        return Fd.Own((int)fd, "openat2", path);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct OpenHow
    {
        internal ulong Flags;
        internal ulong Mode;
        internal ulong Resolve;
    }
}
