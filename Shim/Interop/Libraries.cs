namespace Shim.Interop;

internal static class Libraries
{
    /// <summary>Bound by the dynamic linker at exec (DirectPInvoke), so that the first call probes for nothing.</summary>
    internal const string Libc = "libc";
}
