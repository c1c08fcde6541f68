using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Shim.Tests.Support;

/// <summary>Named pipes, opened so that no test can hang on the other side.</summary>
public static class Fifo
{
    /// <summary>Makes a FIFO that everybody may use.</summary>
    public static string Create(string path)
    {
        Check(Syscall.mkfifo(path, FilePermissions.ACCESSPERMS), $"mkfifo {path}");
        Check(Syscall.chmod(path, FilePermissions.DEFFILEMODE), $"chmod {path}");
        return path;
    }

    internal static SafeFileHandle Open(string path, OpenFlags flags) =>
        new(Check(Syscall.open(path, flags | OpenFlags.O_CLOEXEC), $"open {path}"), ownsHandle: true);

    internal static int Check(int result, string what) =>
        result >= 0 ? result : throw new IOException($"{what}: {Stdlib.strerror(Stdlib.GetLastError())}");
}
