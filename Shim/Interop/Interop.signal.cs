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
    internal const int SIGPIPE = 13;
    internal const int SIGTERM = 15;
    internal const int SIGCHLD = 17;
    internal const int SIGCONT = 18;
    internal const int SIGSTOP = 19;

    private const nint SIG_DFL = 0;
    private const nint SIG_IGN = 1;

    /// <summary>Sets the disposition of <paramref name="signal"/> to default, and returns whether the parent had it ignored.</summary>
    internal static bool SetDefaultDisposition(int signal) => SetDisposition(signal, SIG_DFL) == SIG_IGN;

    /// <summary>From now on <paramref name="signal"/> does nothing.</summary>
    internal static void Ignore(int signal) => SetDisposition(signal, SIG_IGN);

    private static nint SetDisposition(int signal, nint disposition)
    {
        var before = SignalCore(signal, disposition);
        return before != -1 ? before : throw Errno.Exception("signal");
    }
}
