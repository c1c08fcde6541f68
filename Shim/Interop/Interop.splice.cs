using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static unsafe partial class Libc
{
    private const uint SPLICE_F_MOVE = 1;

    [LibraryImport(Libraries.Libc, EntryPoint = "splice", SetLastError = true)]
    private static partial nint SpliceCore(int source, long* sourceOffset, int destination, long* destinationOffset, nuint count, uint flags);

    /// <summary>
    /// Moves up to <paramref name="count"/> bytes between two descriptors of which one is a pipe, without a copy. 0 is end of file; -1 is an
    /// error, EINVAL where the other one can't take part (a terminal, a file that is appended to). Retries EINTR.
    /// </summary>
    internal static long Splice(SafeHandle source, SafeHandle destination, int count)
    {
        nint moved;
        do
        {
            moved = SpliceCore(Fd.Number(source), null, Fd.Number(destination), null, (nuint)count, SPLICE_F_MOVE);
        }
        while (moved == -1 && Errno.Last == Errno.EINTR);
        return moved;
    }
}
