using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    private const int AT_FDCWD = -100;
    internal const int AT_SYMLINK_NOFOLLOW = 0x100;
    private const int AT_EMPTY_PATH = 0x1000;
    private const uint STATX_TYPE = 1;
    private const uint STATX_MODE = 2;
    private const uint STATX_NLINK = 4;
    private const uint STATX_UID = 8;
    private const uint STATX_INO = 0x100;

    [LibraryImport(Libraries.Libc, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatxCore(int directory, string path, int flags, uint mask, byte* buffer);

    /// <summary>What <paramref name="path"/> names; links are followed unless <paramref name="followLinks"/> is false.</summary>
    internal static FileKind KindOf(string path, bool followLinks = true)
    {
        // struct statx is 256 bytes; stx_mode is a u16 at offset 28 on every architecture.
        var buffer = stackalloc byte[256];
        if (StatxCore(AT_FDCWD, path, followLinks ? 0 : AT_SYMLINK_NOFOLLOW, STATX_TYPE, buffer) == -1)
        {
            return Errno.Last is Errno.ENOENT or Errno.ENOTDIR ? FileKind.Missing : throw Errno.Exception("statx", path);
        }

        return KindOf(buffer);
    }

    /// <summary>What <paramref name="path"/> names, links followed, and its number in its file system.</summary>
    internal static (FileKind Kind, ulong Inode) IdentityOf(string path)
    {
        // stx_ino is a u64 at offset 32.
        var buffer = stackalloc byte[256];
        return StatxCore(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO, buffer) == -1
            ? throw Errno.Exception("statx", path)
            : (KindOf(buffer), *(ulong*)(buffer + 32));
    }

    /// <summary>
    /// Whether a directory of cgroups or of another file system of the kernel has others in it: each is a link to it. Listing it would take more, and a buffer that
    /// the framework keeps.
    /// </summary>
    internal static bool HasSubdirectories(string path)
    {
        // stx_nlink is a u32 at offset 16: its name, its own dot, and the two dots in each.
        var buffer = stackalloc byte[256];
        return StatxCore(AT_FDCWD, path, 0, STATX_NLINK, buffer) == -1 ? throw Errno.Exception("statx", path) : *(uint*)(buffer + 16) != 2;
    }

    /// <summary>What an open file is, who owns it, and its permission bits.</summary>
    internal static (FileKind Kind, uint Owner, uint Permissions) StatusOf(SafeHandle handle)
    {
        // stx_uid is a u32 at offset 20.
        var buffer = stackalloc byte[256];
        return StatxCore(Fd.Number(handle), "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_UID, buffer) == -1
            ? throw Errno.Exception("statx")
            : (KindOf(buffer), *(uint*)(buffer + 20), *(ushort*)(buffer + 28) & 0xFFFu);
    }

    private static FileKind KindOf(byte* status) => (*(ushort*)(status + 28) & 0xF000) switch
    {
        0x8000 => FileKind.Regular,
        0x4000 => FileKind.Directory,
        0x1000 => FileKind.Fifo,
        0x2000 => FileKind.CharacterDevice,
        0xC000 => FileKind.Socket,
        _ => FileKind.Other,
    };
}
