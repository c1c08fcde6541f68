using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    [LibraryImport(Libraries.Libc, EntryPoint = "signal", SetLastError = true)]
    private static partial nint SignalCore(int signal, nint handler);

    internal const int SIGHUP = 1;
    internal const int SIGINT = 2;
    internal const int SIGQUIT = 3;
    internal const int SIGKILL = 9;
    internal const int SIGTERM = 15;
    internal const int SIGCHLD = 17;
    internal const int SIGCONT = 18;
    internal const int SIGSTOP = 19;

    /// <summary>Sets the disposition of <paramref name="signal"/> to default, whatever the parent left us with.</summary>
    internal static void SetDefaultDisposition(int signal)
    {
        if (SignalCore(signal, 0) == -1)
        {
            throw Errno.Exception("signal");
        }
    }
}
