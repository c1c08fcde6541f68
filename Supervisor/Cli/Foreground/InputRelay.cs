using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Supervisor.Cli.Foreground;

/// <summary>Copies our standard input to the container's stdin FIFO, on a thread of its own.</summary>
internal static class InputRelay
{
    private const int BufferBytes = 64 * 1024;

    /// <summary>
    /// Starts to copy; the shim must hold the reading end. At the end of our input the FIFO is closed and then
    /// <paramref name="onEnd"/> called: the container sees the end of its stdin only when the shim too lets go of it. When the person types
    /// <paramref name="detachKeys"/>, nothing more is read, and <paramref name="onDetach"/> is called instead.
    /// </summary>
    internal static void Begin(string fifo, Action onEnd, DetachKeys? detachKeys = null, Action? onDetach = null)
    {
        SafeFileHandle destination;
        try
        {
            destination = Fd.Open(fifo, Libc.O_WRONLY | Libc.O_NONBLOCK);
        }
        catch (NativeException e) when (e.Number == Errno.ENXIO)
        {
            // No reader: the process has ended already.
            return;
        }

        Fd.SetNonBlocking(destination, nonBlocking: false);
        new Thread(() => Copy(destination, onEnd, detachKeys?.NewMatcher(), onDetach), 256 * 1024) { IsBackground = true, Name = "input relay" }.Start();
    }

    private static void Copy(SafeFileHandle destination, Action onEnd, DetachMatcher? detach, Action? onDetach)
    {
        using var source = new SafeFileHandle(0, ownsHandle: false);
        using (destination)
        {
            var buffer = new byte[BufferBytes];
            try
            {
                while (Read(source, buffer) is > 0 and var count)
                {
                    var bytes = buffer.AsSpan(0, count);
                    if (detach is null)
                    {
                        Fd.WriteAll(destination, bytes);
                        continue;
                    }

                    var found = detach.Feed(bytes);
                    Fd.WriteAll(destination, detach.Passed);
                    if (found)
                    {
                        onDetach?.Invoke();
                        return;
                    }
                }

                if (detach is not null)
                {
                    Fd.WriteAll(destination, detach.Held);
                }
            }
            catch (NativeException)
            {
                // EPIPE: the process has ended, or closed its stdin. The rest of our input is nobody's.
                return;
            }
        }

        onEnd();
    }

    private static int Read(SafeFileHandle source, byte[] buffer)
    {
        while (true)
        {
            var count = Fd.Read(source, buffer);
            if (count >= 0 || Errno.Last != Errno.EAGAIN)
            {
                // An error is an end: a closed descriptor 0 or a terminal that has gone.
                return count;
            }

            Readiness.Wait(source, Libc.POLLIN, Timeout.Infinite);
        }
    }
}
