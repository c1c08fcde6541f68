using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    private const int AT_FDCWD = -100;
    private const int AT_SYMLINK_NOFOLLOW = 0x100;
    private const uint STATX_TYPE = 1;

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

        return (*(ushort*)(buffer + 28) & 0xF000) switch
        {
            0x8000 => FileKind.Regular,
            0x4000 => FileKind.Directory,
            0x1000 => FileKind.Fifo,
            0x2000 => FileKind.CharacterDevice,
            0xC000 => FileKind.Socket,
            _ => FileKind.Other,
        };
    }
}
