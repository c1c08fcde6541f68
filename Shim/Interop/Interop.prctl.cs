using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    [LibraryImport(Libraries.Libc, EntryPoint = "prctl", SetLastError = true)]
    private static partial int PrctlCore(int option, nuint arg2, nuint arg3, nuint arg4, nuint arg5);

    [LibraryImport(Libraries.Libc, EntryPoint = "prctl", SetLastError = true)]
    private static unsafe partial int PrctlCore(int option, int* arg2, nuint arg3, nuint arg4, nuint arg5);

    private const int PR_SET_CHILD_SUBREAPER = 36;
    private const int PR_GET_CHILD_SUBREAPER = 37;

    /// <summary>Makes this process the parent of all descendants whose own parent dies, and reads the flag back.</summary>
    internal static unsafe void BecomeSubreaper()
    {
        int isSubreaper;
        if (PrctlCore(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == -1 || PrctlCore(PR_GET_CHILD_SUBREAPER, &isSubreaper, 0, 0, 0) == -1)
        {
            throw Errno.Exception("prctl PR_SET_CHILD_SUBREAPER");
        }

        if (isSubreaper == 0)
        {
            throw new InvalidOperationException("the kernel did not make this process a subreaper");
        }
    }
}
