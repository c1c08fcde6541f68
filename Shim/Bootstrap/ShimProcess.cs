using Shim.Interop;
using Shim.Loops;
using Shim.Processes;
using Shim.Tasks;

namespace Shim.Bootstrap;

/// <summary>What a process must be before it can be a shim.</summary>
internal static class ShimProcess
{
    private const uint ChildUmask = 0x12;

    /// <summary>Puts this process into order. To be called first of all, by the thread that will run the main loop.</summary>
    internal static void Prepare(TaskLog log)
    {
        Signals.Block();

        // A FIFO or a logger whose reader is gone is an error of that stream, and not our end. The runtime sees to it today, but says so nowhere.
        Libc.Ignore(Libc.SIGPIPE);
        EventLoop.Main.TakeThread(log.Error);
        Libc.BecomeSubreaper();
        _ = Libc.Umask(ChildUmask);
    }
}
