using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Grpc.Net.Client;
using Supervisor.Containers;
using Supervisor.Events;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Shims;

/// <summary>
/// The connection to one shim: calls with deadlines, and one standing stream that carries its events into the log. A shim that does
/// not answer is not taken for dead: only its pidfd says that.
/// </summary>
internal sealed class ShimLink : IDisposable
{
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_deathDelay = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(10);

    private readonly Container _container;
    private readonly GrpcChannel _channel;
    private readonly ShimContract.ShimClient _client;
    private readonly CancellationTokenSource _pumpStop = new();
    private readonly Receipts _receipts;
    private readonly ILogger _logger;
    private Task? _pump;

    internal ShimLink(Container container, ShimProcess process, ILogger logger)
    {
        _container = container;
        _logger = logger;
        Process = process;
        _channel = UnixChannel.Open(container.Directory.SocketPath);
        _client = new ShimContract.ShimClient(_channel);
        _receipts = new Receipts(_client);
    }

    /// <summary>The shim's process.</summary>
    internal ShimProcess Process { get; }

    /// <summary>Set before the shim is asked to end, so that its end is not taken for a loss.</summary>
    internal bool IsEnding { get; set; }

    /// <summary>Whether it failed to answer the last time that it was asked.</summary>
    internal bool IsMute { get; private set; }

    /// <summary>In a word, why this shim is not asked, for a client; empty while it answers.</summary>
    internal string Trouble => Process.HasEnded ? "lost" : IsMute ? "unresponsive" : "";

    /// <summary>Starts to carry the shim's events into the log, after the last one that is recorded. A second call does nothing.</summary>
    internal void StartPump() => _pump ??= PumpAsync(_pumpStop.Token);

    /// <summary>Ends the stream; when this returns, nobody publishes events of this container any more.</summary>
    internal async Task StopPumpAsync()
    {
        await _pumpStop.CancelAsync();
        await (_pump ?? Task.CompletedTask);
    }

    /// <summary>
    /// Calls the shim. Refusals of the shim pass through as they are; a shim that is gone or does not answer within
    /// <paramref name="deadline"/> is Unavailable. When this returns, the events that the call caused have been published.
    /// </summary>
    internal async Task<TResponse> CallAsync<TResponse>(
        string verb,
        TimeSpan? deadline,
        Func<ShimContract.ShimClient, CallOptions, AsyncUnaryCall<TResponse>> invoke,
        CancellationToken cancellationToken)
    {
        if (Process.HasEnded)
        {
            throw Gone(verb);
        }

        var options = new CallOptions(deadline: deadline is { } limit ? DateTime.UtcNow + limit : null, cancellationToken: cancellationToken);
        using var call = Start(verb, invoke, options);
        try
        {
            var response = await call.ResponseAsync;
            IsMute = false;
            await AwaitEventsAsync(call.GetTrailers());
            return response;
        }
        catch (RpcException e)
        {
            await AwaitEventsAsync(e.Trailers);
            if (e.Status.DebugException is not null)
            {
                // A broken connection is often the first sign of a death that the watcher is about to report.
                await Task.WhenAny(Process.Ended, Task.Delay(s_deathDelay, CancellationToken.None));
            }

            throw Translate(verb, deadline, e, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _channel.Dispose();
        _pumpStop.Dispose();
        Process.Dispose();
    }

    private AsyncUnaryCall<TResponse> Start<TResponse>(
        string verb, Func<ShimContract.ShimClient, CallOptions, AsyncUnaryCall<TResponse>> invoke, CallOptions options)
    {
        try
        {
            return invoke(_client, options);
        }
        catch (ObjectDisposedException)
        {
            // Between the caller's look at the container and this call, its removal was finished.
            throw Gone(verb);
        }
    }

    /// <summary>A call whose answer is out must not be ahead of the events that it caused: clients read their own writes.</summary>
    private async Task AwaitEventsAsync(Metadata trailers)
    {
        if (_pump is null || _pumpStop.IsCancellationRequested
            || !ulong.TryParse(trailers.GetValue("event-sequence"), out var sequence) || sequence == 0)
        {
            return;
        }

        try
        {
            await _container.WaitForEventsAsync(sequence, CancellationToken.None).WaitAsync(Deadlines.EventsOfAnswer);
        }
        catch (TimeoutException)
        {
            ShimsLog.EventsLate(_logger, _container.Id, sequence);
        }
    }

    private Exception Translate(string verb, TimeSpan? deadline, RpcException e, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return new OperationCanceledException(e.Message, e, cancellationToken);
        }

        // Our own deadline has no words of the shim with it (or those of its gRPC library); a runtime that hangs in the shim has.
        if (e.StatusCode == StatusCode.DeadlineExceeded && e.Status.Detail is ("" or "Deadline Exceeded"))
        {
            IsMute = true;
            return TaskException.Unavailable(
                $"{verb} container {_container.Id}: its shim (pid {Process.Pid}) did not answer within {deadline?.TotalSeconds} s", e);
        }

        if (Process.HasEnded)
        {
            return Gone(verb);
        }

        // The status came without the peer saying so: the connection broke.
        return e.Status.DebugException is not null
            ? TaskException.Unavailable($"{verb} container {_container.Id}: the connection to its shim (pid {Process.Pid}) failed: {e.Status.Detail}", e)
            : new RpcException(e.Status);
    }

    private TaskException Gone(string verb) => _container switch
    {
        { IsCommitted: false } => TaskException.Unavailable($"{verb} container {_container.Id}: its shim (pid {Process.Pid}) has ended"),
        { Track: null } => TaskException.NotFound($"{verb} container {_container.Id}: it was deleted meanwhile"),
        _ => TaskException.Unavailable(
            $"{verb} container {_container.Id}: its shim (pid {Process.Pid}) is gone; the container can only be deleted"),
    };

    private async Task PumpAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        var retry = s_firstRetry;
        while (!cancellationToken.IsCancellationRequested && !Process.HasEnded)
        {
            try
            {
                var request = new EventsRequest { AfterSequence = _container.ShimSequence };
                using var call = _client.Events(request, cancellationToken: cancellationToken);
                while (await call.ResponseStream.MoveNext(cancellationToken))
                {
                    retry = s_firstRetry;
                    Record(call.ResponseStream.Current);
                }
            }
            catch (Exception e) when (e is RpcException or IOException or OperationCanceledException or ObjectDisposedException)
            {
                // A full disk ends up here too: nothing was recorded, and the shim still has the event.
                if (!cancellationToken.IsCancellationRequested && !IsEnding && !Process.HasEnded)
                {
                    ShimsLog.StreamBroken(_logger, _container.Id, Process.Pid, retry.TotalMilliseconds, e is RpcException rpc ? rpc.Status.Detail : e.Message);
                }
            }

            await Task.WhenAny(Process.Ended, Task.Delay(retry, cancellationToken));
            retry = retry * 2 < s_lastRetry ? retry * 2 : s_lastRetry;
        }
    }

    private void Record(Event message)
    {
        // A shim that repeats itself is not believed twice.
        if (message.Sequence > _container.ShimSequence)
        {
            _container.Publish(message.ToRecord(_container.Id));
            _receipts.Recorded(message);
            IsMute = false;
        }
    }
}
