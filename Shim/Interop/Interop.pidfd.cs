using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    private const long SYS_pidfd_send_signal = 424;
    private const long SYS_pidfd_open = 434;

    // PIDFD_GET_INFO: _IOWR(0xFF, 11, struct pidfd_info of 64 bytes), since Linux 6.13; with PIDFD_INFO_EXIT since 6.15. Too new for
    // the headers that a test compares with, hence their names.
    private const nuint PidFdGetInfo = 0xC040FF0B;
    private const ulong PidFdInfoExit = 1 << 3;
    private const int PidFdInfoSize = 64;
    private const int PidFdInfoExitCode = 60;

    [LibraryImport(Libraries.Libc, EntryPoint = "syscall", SetLastError = true)]
    private static partial nint PidFdSyscall(nint number, nint arg1, nint arg2, nint arg3, nint arg4);

    /// <summary>A descriptor for the process that has <paramref name="pid"/> now; it works on a zombie too. ESRCH when there is none.</summary>
    internal static SafePidFd PidFdOpen(int pid) =>
        (int)PidFdSyscall((nint)SYS_pidfd_open, pid, 0, 0, 0) is >= 0 and var fd
            ? new SafePidFd(fd)
            : throw Errno.Exception("pidfd_open", $"{pid}");

    /// <summary>
    /// The wait status of a process that has been collected by its parent, whoever that is. Null before that, and on kernels which do not keep
    /// it for those who hold a descriptor.
    /// </summary>
    internal static int? WaitStatusOf(SafePidFd process)
    {
        var info = stackalloc byte[PidFdInfoSize];
        new Span<byte>(info, PidFdInfoSize).Clear();
        *(ulong*)info = PidFdInfoExit;
        return Ioctl(Fd.Number(process), PidFdGetInfo, info) == 0 && (*(ulong*)info & PidFdInfoExit) != 0
            ? *(int*)(info + PidFdInfoExitCode)
            : null;
    }

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
