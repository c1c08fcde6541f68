using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    private const int M_ARENA_MAX = -8;

    /// <summary>Has all threads allocate from one arena; for those that already have another it comes too late.</summary>
    internal static void UseOneArena() => _ = Mallopt(M_ARENA_MAX, 1);

    [LibraryImport(Libraries.Libc, EntryPoint = "mallopt")]
    private static partial int Mallopt(int parameter, int value);
}
