using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    internal const ulong MS_RDONLY = 1;
    internal const ulong MS_NOSUID = 2;
    internal const ulong MS_NODEV = 4;
    internal const ulong MS_NOEXEC = 8;
    internal const ulong MS_SYNCHRONOUS = 16;
    internal const ulong MS_REMOUNT = 32;
    internal const ulong MS_MANDLOCK = 64;
    internal const ulong MS_DIRSYNC = 128;
    internal const ulong MS_NOATIME = 1024;
    internal const ulong MS_NODIRATIME = 2048;
    internal const ulong MS_BIND = 4096;
    internal const ulong MS_REC = 16384;
    internal const ulong MS_UNBINDABLE = 1 << 17;
    internal const ulong MS_PRIVATE = 1 << 18;
    internal const ulong MS_SLAVE = 1 << 19;
    internal const ulong MS_SHARED = 1 << 20;
    internal const ulong MS_RELATIME = 1 << 21;
    internal const ulong MS_STRICTATIME = 1 << 24;
    private const int MNT_DETACH = 2;
    private const int UMOUNT_NOFOLLOW = 8;
    private const int CLONE_FS = 0x200;

    [LibraryImport(Libraries.Libc, EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MountCore(string? source, string target, string? type, nuint flags, string? data);

    [LibraryImport(Libraries.Libc, EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Umount2Core(string target, int flags);

    [LibraryImport(Libraries.Libc, EntryPoint = "unshare", SetLastError = true)]
    private static partial int UnshareCore(int flags);

    [LibraryImport(Libraries.Libc, EntryPoint = "chdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChdirCore(string path);

    /// <summary>mount(2).</summary>
    internal static void Mount(string? source, string target, string? type, ulong flags, string? data)
    {
        if (MountCore(source, target, type, (nuint)flags, data) == -1)
        {
            throw Errno.Exception("mount", $"{(source is { Length: > 0 } ? source : type)} on {target}");
        }
    }

    /// <summary>
    /// Unmounts what is mounted at <paramref name="target"/>, which may not be a link. False when nothing is (any more), or it is in use and
    /// <paramref name="detach"/> is false; detached, it goes out of sight now and ends with its last user.
    /// </summary>
    internal static bool Unmount(string target, bool detach)
    {
        if (Umount2Core(target, UMOUNT_NOFOLLOW | (detach ? MNT_DETACH : 0)) == 0)
        {
            return true;
        }

        return Errno.Last is Errno.EINVAL or Errno.ENOENT or Errno.EBUSY ? false : throw Errno.Exception("umount2", target);
    }

    /// <summary>Gives the calling thread a working directory of its own, and sets it. For threads that end afterwards.</summary>
    internal static void EnterDirectoryAlone(string path)
    {
        if (UnshareCore(CLONE_FS) == -1)
        {
            throw Errno.Exception("unshare CLONE_FS");
        }

        if (ChdirCore(path) == -1)
        {
            throw Errno.Exception("chdir", path);
        }
    }
}
