using Shim.Interop;

namespace Shim.Processes;

/// <summary>What whoever starts a shim gives it, because it cannot give it to itself: it holds from the first instruction on.</summary>
internal static class ShimBirth
{
    /// <summary>
    /// The signals that it will read from a descriptor: there is no moment in which one of them would end it. SIGHUP because the terminal of whoever started it
    /// may go, and the container must not lose its parent to that.
    /// </summary>
    internal static Libc.SignalSet BlockedSignals { get; } = Libc.SignalSet.Of(Libc.SIGCHLD, Libc.SIGTERM, Libc.SIGINT, Libc.SIGHUP);

    /// <summary>
    /// Its environment: where to look for programs, and that glibc keeps neither a heap for each thread (16 to 40 KB) nor the stacks of threads that have ended
    /// (8 KB each). No process that it starts inherits it.
    /// </summary>
    internal static string[] EnvironmentWith(string path) => [$"PATH={path}", "GLIBC_TUNABLES=glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0"];
}
