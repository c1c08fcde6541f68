using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>One call: gathers its request, runs its method, and writes what comes of it.</summary>
[SuppressMessage("Design", "CA1001", Justification = "It disposes of the source itself when it has ended.")]
internal sealed partial class GrpcCall : IThreadPoolWorkItem
{
    private readonly GrpcConnection _connection;
    private readonly string _path;
    private readonly CancellationTokenSource _cancel = new();
    private readonly Lock _lock = new();

    // Guarded by the lock.
    private bool _started;
    private bool _lost;
    private bool _over;

    // By somebody, and not by its deadline. The clock does not tell: a timer may be a moment ahead of it.
    private volatile bool _isCancelled;

    private DateTime _deadline = DateTime.MaxValue;
    private ITimer? _limit;

    internal GrpcCall(GrpcConnection connection, int id, string path, GrpcMethod? method)
    {
        (_connection, Id, _path, Method) = (connection, id, path, method);
        CancellationToken = _cancel.Token;
        Context = new GrpcCallContext(this, path);
    }

    /// <summary>The number of its stream.</summary>
    internal int Id { get; }

    /// <summary>Null when there is none of its name.</summary>
    internal GrpcMethod? Method { get; }

    /// <summary>What the method sees of it.</summary>
    internal GrpcCallContext Context { get; }

    /// <summary>Ends when nobody waits for the answer any more.</summary>
    internal CancellationToken CancellationToken { get; }

    internal DateTime Deadline => _deadline;

    /// <summary>How long the client waits. Said before the call can begin.</summary>
    internal void Limit(TimeSpan? limit)
    {
        if (limit is { } time)
        {
            _deadline = DateTime.UtcNow + time;
            _limit = Clock.NewTimer(Expire);
            _limit.Set(time);
        }
    }

    /// <summary>Nobody waits for the answer any more.</summary>
    internal void Lose()
    {
        lock (_lock)
        {
            _lost = true;
            Start_NeedsLock();
        }

        Cancel();
    }

    /// <summary>Cancels what is done for it.</summary>
    internal void Cancel()
    {
        _isCancelled = true;
        Expire();
    }

    /// <summary>Runs the method; on a thread of the pool.</summary>
    public void Execute() => _ = RunAsync();

    // Once: the request is complete, or refused, or the client is gone.
    private void Start_NeedsLock()
    {
        if (!_started)
        {
            _started = true;
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
    }

    private async Task RunAsync()
    {
        IMessage? answer = null;
        var status = Status.DefaultSuccess;
        try
        {
            if (TakeRequest(out var refusal) is { } request)
            {
                answer = await Method!.Answer(request, this).ConfigureAwait(false);
            }
            else
            {
                status = refusal;
            }
        }
        catch (Exception e)
        {
            answer = null;

            // Nobody hears of it when the client is gone, and then that is all that has failed.
            status = _lost ? new Status(StatusCode.Cancelled, "the client has gone") : (e as RpcException)?.Status ?? _connection.Server.Options.ToStatus(e);
            if (status.StatusCode == StatusCode.Cancelled && CancellationToken.IsCancellationRequested && !_isCancelled)
            {
                status = new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded");
            }
        }

        try
        {
            if (!_lost)
            {
                await EndAsync(answer, status).ConfigureAwait(false);
                if (!_requestEnded)
                {
                    // The answer is complete; the client need not send the rest of what it asks.
                    await _connection.Link.Output.ResetAsync(Id, Http2ErrorCode.NoError).ConfigureAwait(false);
                }
            }
        }
        catch (Exception e) when (e is NativeException or ObjectDisposedException or OperationCanceledException or TimeoutException)
        {
            // The client is gone, or does not read.
        }
        catch (Exception e)
        {
            _connection.Server.Options.Log($"{_path}: the answer could not be written: {e}");
            _connection.Abort();
        }
        finally
        {
            End();
        }
    }

    private void Expire()
    {
        try
        {
            _cancel.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has just ended.
        }
    }

    private void End()
    {
        bool place;
        lock (_lock)
        {
            _over = true;
            (place, _hasPlace) = (_hasPlace, false);
            _message = [];
        }

        _connection.Ended(this);

        // Whoever still watches over the request.
        _cancel.Cancel();
        _limit?.Dispose();
        _cancel.Dispose();
        if (place)
        {
            _connection.Server.Large.Leave();
        }

        _connection.Server.Worked();
    }
}
