using Shim.Interop;

namespace Shim.Processes;

/// <summary>The signals that a shim reads from a descriptor, and therefore has blocked.</summary>
internal static class ShimSignals
{
    /// <summary>
    /// To be given to it by whoever starts it: then there is no moment in which one of them would end it. SIGHUP because the terminal of whoever started it
    /// may go, and the container must not lose its parent to that.
    /// </summary>
    internal static Libc.SignalSet Blocked { get; } = Libc.SignalSet.Of(Libc.SIGCHLD, Libc.SIGTERM, Libc.SIGINT, Libc.SIGHUP);
}
