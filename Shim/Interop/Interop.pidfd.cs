using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    private const long SYS_pidfd_send_signal = 424;
    private const long SYS_pidfd_open = 434;

    [LibraryImport(Libraries.Libc, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint PidFdSyscall(nint number, nint arg1, nint arg2, nint arg3, nint arg4);

    /// <summary>A descriptor for the process that has <paramref name="pid"/> now; it works on a zombie too. ESRCH when there is none.</summary>
    internal static SafePidFd PidFdOpen(int pid) =>
        (int)PidFdSyscall((nint)SYS_pidfd_open, pid, 0, 0, 0) is >= 0 and var fd
            ? new SafePidFd(fd)
            : throw Errno.Exception("pidfd_open", $"{pid}");

    /// <summary>Sends <paramref name="signal"/>; false when the process has gone (ESRCH).</summary>
    internal static bool PidFdSendSignal(SafePidFd process, int signal)
    {
        if ((int)PidFdSyscall((nint)SYS_pidfd_send_signal, Fd.Number(process), signal, 0, 0) == 0)
        {
            return true;
        }

        return Errno.Last == Errno.ESRCH ? false : throw Errno.Exception("pidfd_send_signal");
    }
}
