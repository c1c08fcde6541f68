using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    /// <summary>geteuid(2); cannot fail.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "geteuid")]
    internal static partial uint GetEffectiveUserId();
}
