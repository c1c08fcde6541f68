using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

/// <summary>Owns a pidfd: the identity of one process, which no other process can inherit by pid reuse.</summary>
internal sealed class SafePidFd : SafeHandleZeroOrMinusOneIsInvalid
{
    internal SafePidFd(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Libc.Close((int)handle) == 0;
}
