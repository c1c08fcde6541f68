using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    internal const int SFD_NONBLOCK = 0x800;
    internal const int SFD_CLOEXEC = 0x80000;

    /// <summary>sizeof(struct signalfd_siginfo); its first four bytes are the signal's number.</summary>
    internal const int SignalInfoSize = 128;

    private const int SIG_BLOCK = 0;

    [LibraryImport(Libraries.Libc, EntryPoint = "signalfd", SetLastError = true)]
    internal static partial int SignalFd(int fd, SignalSet* signals, int flags);

    [LibraryImport(Libraries.Libc, EntryPoint = "pthread_sigmask")]
    private static partial int SetMask(int how, SignalSet* signals, SignalSet* before);

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
