using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    private const int SFD_NONBLOCK = 0x800;
    private const int SFD_CLOEXEC = 0x80000;

    /// <summary>sizeof(struct signalfd_siginfo); its first four bytes are the signal's number.</summary>
    internal const int SignalInfoSize = 128;

    private const int SIG_BLOCK = 0;

    [LibraryImport(Libraries.Libc, EntryPoint = "signalfd", SetLastError = true)]
    private static partial int SignalFdCore(int fd, SignalSet* signals, int flags);

    [LibraryImport(Libraries.Libc, EntryPoint = "pthread_sigmask")]
    private static partial int SetMask(int how, SignalSet* signals, SignalSet* before);

    /// <summary>A descriptor, never blocking, from which signals are read that no thread takes.</summary>
    internal static SafeFileHandle SignalFd(SignalSet signals) => Fd.Own(SignalFdCore(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd");

    /// <summary>Blocks signals in the calling thread, and so in all that it starts from now on. Whether they were blocked before.</summary>
    internal static bool Block(SignalSet signals)
    {
        SignalSet before;
        var error = SetMask(SIG_BLOCK, &signals, &before);
        return error == 0 ? (before.First & signals.First) == signals.First : throw new NativeException("pthread_sigmask", error);
    }

    /// <summary>sigset_t, larger than the kernel's: there are 64 signals.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 128)]
    internal struct SignalSet
    {
        internal ulong First;

        /// <summary>A set of those signals.</summary>
        internal static SignalSet Of(params ReadOnlySpan<int> signals)
        {
            var set = default(SignalSet);
            foreach (var signal in signals)
            {
                set.First |= 1UL << (signal - 1);
            }

            return set;
        }
    }
}
