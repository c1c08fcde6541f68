using System.Runtime.InteropServices;

namespace Shim.Interop;

internal static partial class Libc
{
    internal const uint MFD_CLOEXEC = 1;

    [LibraryImport(Libraries.Libc, EntryPoint = "memfd_create", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int MemFdCreate(string name, uint flags);
}
