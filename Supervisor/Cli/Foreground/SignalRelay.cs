using System.Runtime.InteropServices;
using System.Threading.Channels;

namespace Supervisor.Cli.Foreground;

/// <summary>
/// What SIGINT, SIGTERM, SIGHUP and SIGQUIT mean to a foreground verb. Before the process runs they end the verb; then they are the
/// process's, as if it had been started by the shell itself. Whoever insists, with a third one, gets rid of the verb.
/// </summary>
internal sealed class SignalRelay : IDisposable
{
    private const int Insistence = 3;
    private const int SigHup = 1;

    private static readonly (PosixSignal Signal, int Number)[] s_signals =
        [(PosixSignal.SIGHUP, 1), (PosixSignal.SIGINT, 2), (PosixSignal.SIGQUIT, 3), (PosixSignal.SIGTERM, 15)];

    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly CancellationTokenSource _interrupted = new();
    private readonly CancellationTokenSource _forced = new();
    private readonly Channel<int> _queue = Channel.CreateUnbounded<int>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Lock _lock = new();
    private bool _forwarding;
    private int _count;
    private int _last;

    internal SignalRelay()
    {
        foreach (var (signal, number) in s_signals)
        {
            _registrations.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                Receive(number);
            }));
        }
    }

    /// <summary>
    /// Whether SIGHUP always ends the verb: the terminal that it shows the process on has gone. What that means to the process, its streams
    /// tell it.
    /// </summary>
    internal bool HangUpEnds { get; init; }

    /// <summary>A signal came before there was a process to give it to, or one too many after that.</summary>
    internal CancellationToken Interrupted => _interrupted.Token;

    /// <summary>One signal too many: nothing is waited for any more.</summary>
    internal CancellationToken Forced => _forced.Token;

    /// <summary>The last signal that came, or 0.</summary>
    internal int Last => Volatile.Read(ref _last);

    /// <summary>
    /// From now on signals are the process's and no longer interrupt. To be called before the process is started: it runs, and people may
    /// see that it does, before the answer to the start arrives.
    /// </summary>
    internal void Hold()
    {
        lock (_lock)
        {
            _forwarding = true;
        }
    }

    /// <summary>The signals that were held and all that come go to <paramref name="send"/>, one at a time and in order.</summary>
    internal void ForwardTo(Func<int, Task> send)
    {
        Hold();
        _ = ForwardAsync(send);
    }

    /// <summary>Sends a signal as if we had received it, without counting it as insistence.</summary>
    internal void Inject(int number) => _queue.Writer.TryWrite(number);

    /// <summary>Ends the verb as a signal before the start would.</summary>
    internal void Interrupt(int number)
    {
        Volatile.Write(ref _last, number);
        Cancel(_interrupted);
        Cancel(_forced);
    }

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _queue.Writer.TryComplete();
        _interrupted.Dispose();
        _forced.Dispose();
    }

    private void Receive(int number)
    {
        var insists = number == SigHup && HangUpEnds;
        lock (_lock)
        {
            if (++_count < Insistence && _forwarding && !insists)
            {
                _queue.Writer.TryWrite(number);
                return;
            }

            insists |= _count >= Insistence;
        }

        Volatile.Write(ref _last, number);
        Cancel(_interrupted);
        if (insists)
        {
            Cancel(_forced);
        }
    }

    // A handler may still run while we are being disposed.
    private static void Cancel(CancellationTokenSource source)
    {
        try
        {
            source.Cancel();
        }
        catch (ObjectDisposedException)
        {
        }
    }

    private async Task ForwardAsync(Func<int, Task> send)
    {
        await foreach (var number in _queue.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            try
            {
                await send(number).ConfigureAwait(false);
            }
            catch (Grpc.Core.RpcException)
            {
                // The process has just ended, or the supervisor is away: the person will try again, and the third one ends the verb.
            }
        }
    }
}
