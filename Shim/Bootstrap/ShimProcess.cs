using Shim.Interop;

namespace Shim.Bootstrap;

/// <summary>What a process must be before it can be a shim.</summary>
internal static class ShimProcess
{
    private const uint ChildUmask = 0x12;

    /// <summary>Puts this process into order. To be called first of all.</summary>
    internal static void Prepare()
    {
        // A parent that ignores SIGCHLD has handed that on to us, and the kernel would then throw every status away.
        Libc.SetDefaultDisposition(Libc.SIGCHLD);
        Libc.BecomeSubreaper();
        _ = Libc.Umask(ChildUmask);

        // Each thread that allocates would otherwise dirty pages of an arena of its own: 40 KB in all.
        Libc.UseOneArena();
    }
}
