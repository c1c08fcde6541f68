using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    /// <summary>Gives free heap pages back to the kernel.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "malloc_trim")]
    internal static partial int MallocTrim(nuint pad);
}
