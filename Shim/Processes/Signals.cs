using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Processes;

/// <summary>
/// The signals of this process, as events of the main loop: the end of a child, and the wish of somebody that this process ends. They are blocked in all
/// threads, so that no handler runs anywhere.
/// </summary>
/// <remarks>The framework's registrations would need a thread for it.</remarks>
internal static class Signals
{
    private static volatile bool s_areBlocked;
    private static Dictionary<int, Action>? s_handlers;

    /// <summary>
    /// Blocks them in this process. To be called before there are other threads than the main one and the runtime's, which finalizes, has been running
    /// since before Main, and can only be told there.
    /// </summary>
    internal static void Block()
    {
        // A parent that ignores SIGCHLD has handed that on to us, and the kernel would then throw every status away.
        Libc.SetDefaultDisposition(Libc.SIGCHLD);
        if (Libc.Block(ShimBirth.BlockedSignals))
        {
            // By our parent, and so in all threads.
            return;
        }

        while (!s_areBlocked)
        {
            Drop();
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    /// <summary>Calls <paramref name="handler"/> on the main loop's thread after each signal of that number; several may be one.</summary>
    internal static void Take(int signal, Action handler)
    {
        var handlers = s_handlers ??= Watch();
        lock (handlers)
        {
            handlers.Add(signal, handler);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop() => _ = new Blocker();

    private static Dictionary<int, Action> Watch()
    {
        // It is never closed: its registration holds it.
        var descriptor = Libc.SignalFd(ShimBirth.BlockedSignals);
        var handlers = new Dictionary<int, Action>();
        _ = EventLoop.Main.Register(descriptor, Libc.EPOLLIN, _ => Read(descriptor, handlers));
        return handlers;
    }

    private static void Read(SafeFileHandle descriptor, Dictionary<int, Action> handlers)
    {
        Span<byte> information = stackalloc byte[Libc.SignalInfoSize];
        while (Fd.Read(descriptor, information) == information.Length)
        {
            Action? handler;
            lock (handlers)
            {
                handler = handlers.GetValueOrDefault(MemoryMarshal.Read<int>(information));
            }

            handler?.Invoke();
        }
    }

    /// <summary>Blocks the signals in the thread that finalizes it.</summary>
    [SuppressMessage("Performance", "CA1821", Justification = "It is not empty.")]
    private sealed class Blocker
    {
        ~Blocker()
        {
            Libc.Block(ShimBirth.BlockedSignals);
            s_areBlocked = true;
        }
    }
}
