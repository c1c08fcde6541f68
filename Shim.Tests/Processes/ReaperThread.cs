using Shim.Interop;
using Shim.Processes;

namespace Shim.Tests.Processes;

/// <summary>
/// Has a reaper collect from a thread that waits for children. A shim's main loop does it after SIGCHLD; in a process of the JIT's runtime, whose threads take
/// signals themselves, that cannot be had.
/// </summary>
internal static unsafe class ReaperThread
{
    internal static void Start(Reaper reaper) => new Thread(() => Run(reaper)) { IsBackground = true, Name = "reaper" }.Start();

    private static void Run(Reaper reaper)
    {
        while (true)
        {
            Libc.SigInfo info;
            if (Libc.WaitId(Libc.P_ALL, 0, &info, Libc.WEXITED | Libc.WNOWAIT) == 0)
            {
                reaper.Collect();
            }
            else
            {
                // There is no child, and nothing that would tell of the next one.
                Thread.Sleep(1);
            }
        }
    }
}
