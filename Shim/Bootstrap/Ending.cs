using Shim.Interop;
using Shim.Processes;
using Shim.Tasks;

namespace Shim.Bootstrap;

/// <summary>The end of this process, once, however many ask for it: by a signal the containers go first, by a call they have gone already.</summary>
/// <param name="tasks">The containers.</param>
/// <param name="end">What is to be done when they are gone. It does not return.</param>
/// <param name="log">Tells an operator.</param>
internal sealed class Ending(TaskService tasks, Func<Task> end, TaskLog log)
{
    private int _begun;

    /// <summary>From now on SIGTERM and SIGINT end this process in order.</summary>
    internal void TakeSignals()
    {
        Signals.Take(Libc.SIGTERM, Stop);

        // A shell has its background jobs ignore the key that is meant for the one in the foreground.
        if (!Libc.SetDefaultDisposition(Libc.SIGINT))
        {
            Signals.Take(Libc.SIGINT, Stop);
        }
    }

    /// <summary>Ends this process; the containers are gone.</summary>
    internal void Begin() => Begin(end);

    private void Stop() => Begin(async () =>
    {
        // Without a shim nobody would be their parent.
        await OrderlyStop.RunAsync(tasks, log).ConfigureAwait(false);
        await end().ConfigureAwait(false);
    });

    private void Begin(Func<Task> ending)
    {
        if (Interlocked.Exchange(ref _begun, 1) == 0)
        {
            _ = Task.Run(ending);
        }
    }
}
