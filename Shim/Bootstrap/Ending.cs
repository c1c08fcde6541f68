using System.Runtime.InteropServices;
using Shim.Tasks;

namespace Shim.Bootstrap;

/// <summary>The end of this process, once, however many ask for it: by a signal the containers go first, by a call they have gone already.</summary>
/// <param name="tasks">The containers.</param>
/// <param name="end">What is to be done when they are gone. It does not return.</param>
/// <param name="log">Tells an operator.</param>
internal sealed class Ending(TaskService tasks, Func<Task> end, TaskLog log)
{
    // Held here, because a registration that is collected is one that ends.
    private readonly List<PosixSignalRegistration> _registrations = [];
    private int _begun;

    /// <summary>From now on SIGTERM and SIGINT end this process in order.</summary>
    internal void TakeSignals()
    {
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, StopOn));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, StopOn));

        // The terminal of whoever started this by hand may go; the container must not lose its parent to that.
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, static context => context.Cancel = true));
    }

    /// <summary>Ends this process; the containers are gone.</summary>
    internal void Begin() => Begin(end);

    private void StopOn(PosixSignalContext context)
    {
        context.Cancel = true;
        Begin(async () =>
        {
            // Without a shim nobody would be their parent.
            await OrderlyStop.RunAsync(tasks, log).ConfigureAwait(false);
            await end().ConfigureAwait(false);
        });
    }

    private void Begin(Func<Task> ending)
    {
        if (Interlocked.Exchange(ref _begun, 1) == 0)
        {
            _ = Task.Run(ending);
        }
    }
}
