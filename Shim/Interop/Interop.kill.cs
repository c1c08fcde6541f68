using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    /// <summary>kill(2). Only for process groups of unreaped children of ours: their number cannot be recycled.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "kill", SetLastError = true)]
    internal static partial int Kill(int pid, int signal);
}
