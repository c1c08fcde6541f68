using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    internal const int TCSANOW = 0;

    /// <summary>isatty(3): 1 for a terminal, 0 (and an error number) for everything else.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "isatty", SetLastError = true)]
    internal static partial int IsATty(int fd);

    [LibraryImport(Libraries.Libc, EntryPoint = "tcgetattr", SetLastError = true)]
    internal static partial int TcGetAttr(int fd, Termios* settings);

    [LibraryImport(Libraries.Libc, EntryPoint = "tcsetattr", SetLastError = true)]
    internal static partial int TcSetAttr(int fd, int when, Termios* settings);

    [LibraryImport(Libraries.Libc, EntryPoint = "cfmakeraw")]
    internal static partial void CfMakeRaw(Termios* settings);

    /// <summary>struct termios of glibc and musl on x86-64 and arm64: 60 bytes that only libc looks into.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    internal struct Termios
    {
        private fixed uint _opaque[16];
    }
}
