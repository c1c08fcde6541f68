using System.Runtime.InteropServices;

namespace Shim.Interop;

/// <summary>A native call failed: which one, on what, and the kernel's reason.</summary>
internal sealed class NativeException(string call, int errno, string? subject = null)
    : IOException(
        subject is null
            ? $"{call}: {Marshal.GetPInvokeErrorMessage(errno)}"
            : $"{call} {subject}: {Marshal.GetPInvokeErrorMessage(errno)}",
        errno)
{
    /// <summary>The error number, see <see cref="Interop.Errno"/>.</summary>
    internal int Number { get; } = errno;
}
