using System.Runtime.CompilerServices;
using Containerd.V1;
using Grpc.Core;

namespace Shim.Tests.Support;

/// <summary>
/// Keeps every event of a supervisor. When the stream breaks because the supervisor was stopped or killed, it subscribes again
/// after the last event it has, until disposed: so what it holds is what a careful client holds.
/// </summary>
public sealed class EventRecorder : IAsyncDisposable
{
    private readonly SupervisorFixture _supervisor;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Event> _events = [];
    private readonly Lock _gate = new();
    private readonly Task _task;

    private EventRecorder(SupervisorFixture supervisor, ulong after)
    {
        _supervisor = supervisor;
        _task = RunAsync(after);
    }

    /// <summary>Records what happens from now on.</summary>
    public static async Task<EventRecorder> FromNowAsync(SupervisorFixture supervisor)
    {
        ArgumentNullException.ThrowIfNull(supervisor);
        return After(supervisor, (await supervisor.Control.InfoAsync(new InfoRequest())).NewestSequence);
    }

    /// <summary>Records what came after an event; 0 is from the beginning.</summary>
    public static EventRecorder After(SupervisorFixture supervisor, ulong sequence) => new(supervisor, sequence);

    /// <summary>What has come so far.</summary>
    public IReadOnlyList<Event> Events
    {
        get
        {
            lock (_gate)
            {
                return [.. _events];
            }
        }
    }

    /// <summary>The events of one container, all generations of its id.</summary>
    public IReadOnlyList<Event> Of(string containerId) => [.. Events.Where(e => e.ContainerId == containerId)];

    /// <summary>The exits of one container's processes.</summary>
    public IReadOnlyList<Event> ExitsOf(string containerId) => [.. Of(containerId).Where(e => e.Type == EventType.Exited)];

    /// <summary>Until an event has come; returns the first such.</summary>
    public async Task<Event> WaitForAsync(
        Func<Event, bool> predicate,
        TimeSpan deadline,
        [CallerArgumentExpression(nameof(predicate))] string what = "")
    {
        await Poll.For(() => Events, events => events.Any(predicate), deadline, $"an event with {what}");
        return Events.First(predicate);
    }

    /// <summary>Until the exit of a process has come.</summary>
    public Task<Event> WaitForExitAsync(string containerId, uint pid, TimeSpan deadline) =>
        WaitForAsync(e => e.Type == EventType.Exited && e.ContainerId == containerId && e.Pid == pid, deadline, $"the exit of {pid} in {containerId}");

    /// <summary>
    /// Fails unless the events keep their rules: numbers without gap or double; for each process create (or add), start, exit,
    /// delete in this order, each at most once, one exit at most; exec exits before the exit of init; nothing starts after that.
    /// </summary>
    public void AssertOrder() => EventRules.Check(Events);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _task;
        _stop.Dispose();
    }

    private async Task RunAsync(ulong after)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var call = _supervisor.Control.Events(new EventsRequest { AfterSequence = after }, cancellationToken: _stop.Token);
                await foreach (var next in call.ResponseStream.ReadAllAsync(_stop.Token))
                {
                    after = next.Sequence;
                    lock (_gate)
                    {
                        _events.Add(next);
                    }
                }
            }
            catch (Exception exception) when (exception is RpcException or OperationCanceledException or InvalidOperationException or ObjectDisposedException)
            {
                // Cancelled, or the supervisor is away: InvalidOperation and ObjectDisposed come from the fixture's closed channel.
            }

            await Task.Delay(20, CancellationToken.None);
        }
    }
}
