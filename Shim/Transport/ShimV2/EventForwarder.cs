using Containerd.TaskApi.V2;
using Containerd.Types;
using Grpc.Core;
using Shim.Loops;
using Shim.Tasks;

namespace Shim.Transport.ShimV2;

/// <summary>
/// Tells containerd every event of every container, each container's in their order and once. The queue is the container's journal on disk: a daemon that is
/// away for days costs no memory, delays nobody, and is told all of it when it comes back.
/// </summary>
/// <param name="sink">Where they go; null when there is nobody to be told.</param>
/// <param name="nameSpace">containerd's namespace.</param>
/// <param name="log">Tells an operator.</param>
internal sealed class EventForwarder(IEventSink? sink, string nameSpace, TaskLog log) : IAsyncDisposable
{
    // A daemon that answers and does not want an event may be starting; it is asked so many times.
    private const int MaxRefusals = 8;
    private const long Batch = 256;
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(2);

    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly HashSet<Task> _followed = [];

    /// <summary>From now on the container's events are told, from its first on. Its journal is closed after its last.</summary>
    internal void Follow(Container container, CreateTaskRequest request)
    {
        lock (_lock)
        {
            var following = Task.Run(() => FollowAsync(container, new TaskEvents(nameSpace, request)));
            _followed.Add(following);
            _ = following.ContinueWith(
                ended =>
                {
                    lock (_lock)
                    {
                        _followed.Remove(ended);
                    }
                },
                CancellationToken.None,
                TaskContinuationOptions.None,
                TaskScheduler.Default);
        }
    }

    /// <summary>Waits until the last events of all deleted containers are out, but not longer than that.</summary>
    internal async Task DrainAsync(TimeSpan limit)
    {
        Task all;
        lock (_lock)
        {
            all = Task.WhenAll(_followed);
        }

        try
        {
            await all.WithinAsync(limit).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            log.Error($"containerd was not there for {limit.TotalSeconds:0} s: it will not be told the last events");
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync().ConfigureAwait(false);
        if (sink is not null)
        {
            await sink.DisposeAsync().ConfigureAwait(false);
        }

        _stopping.Dispose();
    }

    private async Task FollowAsync(Container container, TaskEvents events)
    {
        try
        {
            await foreach (var what in container.Journal.ReadAsync(0, follow: true, _stopping.Token).ConfigureAwait(false))
            {
                if (events.ToEnvelope(what) is { } envelope)
                {
                    await TellAsync(envelope, container.Id).ConfigureAwait(false);
                }

                if (what.Sequence % Batch == 0)
                {
                    // Told events are not needed any more; the journal would grow with every exec.
                    container.Journal.Recorded(what.Sequence);
                }

                if (what is { Type: TaskEventType.Delete, Init: true })
                {
                    container.Journal.Dispose();
                    return;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // This shim ends.
        }
        catch (Exception e)
        {
            log.Error($"containerd is not told of container {container.Id} any more: {e}");
        }
    }

    private async Task TellAsync(Envelope envelope, string id)
    {
        var retry = s_firstRetry;
        for (var refusals = 0; sink is not null;)
        {
            try
            {
                await sink.SendAsync(envelope, _stopping.Token).ConfigureAwait(false);
                return;
            }
            catch (RpcException e) when (!_stopping.IsCancellationRequested)
            {
                if (e.StatusCode is not (StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled) && ++refusals == MaxRefusals)
                {
                    log.Error($"containerd does not want {envelope.Topic} of container {id}: {e.Status.Detail}");
                    return;
                }
            }

            await Clock.DelayAsync(retry, _stopping.Token).ConfigureAwait(false);
            retry = retry * 2 < s_lastRetry ? retry * 2 : s_lastRetry;
        }
    }
}
