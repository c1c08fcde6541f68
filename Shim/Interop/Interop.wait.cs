using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    internal const int WNOHANG = 1;
    internal const int WEXITED = 4;
    internal const int WNOWAIT = 0x01000000;
    internal const int P_ALL = 0;
    internal const int P_PID = 1;
    internal const int P_PIDFD = 3;

    /// <summary>
    /// waitid(2). 0 on success, also when WNOHANG found nothing (then <see cref="SigInfo.Pid"/> is 0); -1 on error,
    /// ECHILD when there is no such child.
    /// </summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "waitid", SetLastError = true)]
    internal static partial int WaitId(int idType, uint id, SigInfo* info, int options);

    /// <summary>Collects one child that has ended; false when it has not, or is no child of ours.</summary>
    internal static bool TryReap(SafePidFd process, out SigInfo info)
    {
        SigInfo found = default;
        var result = WaitId(P_PIDFD, (uint)Fd.Number(process), &found, WEXITED | WNOHANG);
        info = found;
        return result == 0 && found.Pid != 0;
    }

    /// <summary>wait4(2): the pid of the child that was reaped, 0 when WNOHANG found none, -1 on error.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "wait4", SetLastError = true)]
    internal static partial int Wait4(int pid, int* status, int options, ResourceUsage* usage);

    /// <summary>siginfo_t as waitid fills it (x86-64 and arm64).</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    internal struct SigInfo
    {
        [FieldOffset(0)]
        internal int Signal;

        [FieldOffset(8)]
        internal int Code;

        [FieldOffset(16)]
        internal int Pid;

        [FieldOffset(24)]
        internal int Status;
    }

    /// <summary>struct rusage (64-bit Linux): two timevals, then fourteen longs of which the first is ru_maxrss.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 144)]
    internal struct ResourceUsage
    {
        [FieldOffset(0)]
        internal long UserSeconds;

        [FieldOffset(8)]
        internal long UserMicroseconds;

        [FieldOffset(16)]
        internal long SystemSeconds;

        [FieldOffset(24)]
        internal long SystemMicroseconds;

        [FieldOffset(32)]
        internal long MaxRssKib;
    }
}
