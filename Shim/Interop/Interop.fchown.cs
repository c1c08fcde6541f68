using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    /// <summary>Gives an open file to another user and group.</summary>
    [LibraryImport(Libraries.Libc, EntryPoint = "fchown", SetLastError = true)]
    internal static partial int FChown(int fd, uint owner, uint group);
}
