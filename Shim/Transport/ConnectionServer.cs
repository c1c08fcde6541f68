using System.Diagnostics.CodeAnalysis;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport;

/// <summary>
/// Accepts connections on listening sockets that somebody else made, and ends in order. It has no thread and no timer of its own: while nothing happens,
/// nothing runs.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The source has no timer and no link, and it is cancelled once; StopAsync is the end of a server.")]
internal abstract class ConnectionServer
{
    // After these accept has failed for a reason that passes; asking again at once would only burn time.
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);

    // How long cancelled calls have to send their answers.
    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(1);

    private readonly ServerOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();

    // Guarded by the lock.
    private readonly HashSet<IServerConnection> _connections = [];
    private TaskCompletionSource? _room;
    private int _calls;
    private bool _stopping;

    private protected ConnectionServer(ServerOptions options) => _options = options;

    /// <summary>How many calls are under way.</summary>
    internal int Calls
    {
        get
        {
            lock (_lock)
            {
                return _calls;
            }
        }
    }

    /// <summary>How many connections there are.</summary>
    internal int Connections
    {
        get
        {
            lock (_lock)
            {
                return _connections.Count;
            }
        }
    }

    /// <summary>Accepts and serves until it is cancelled or the server stops. The listener stays the caller's.</summary>
    internal async Task ServeAsync(UnixSocket listener, CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, cancellationToken);
        var complained = false;
        while (!end.IsCancellationRequested)
        {
            try
            {
                await RoomAsync(end.Token).ConfigureAwait(false);
                var socket = await listener.AcceptAsync(end.Token).ConfigureAwait(false);
                if (complained)
                {
                    complained = false;
                    _options.Log("connections are accepted again");
                }

                Welcome(socket);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (NativeException) when (end.IsCancellationRequested)
            {
                return;
            }
            catch (NativeException e)
            {
                // No descriptor or no memory is left, here or on the whole machine; or the peer was gone before we came.
                if (!complained)
                {
                    complained = true;
                    _options.Log($"no connection can be accepted for now: {e.Message}");
                }

                await Clock.DelayAsync(s_pause, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    /// <summary>
    /// Stops: no new connections, new calls are refused, calls under way have <paramref name="grace"/> to end, then they are cancelled. When
    /// it returns, every connection is closed.
    /// </summary>
    internal async Task StopAsync(TimeSpan grace)
    {
        lock (_lock)
        {
            _stopping = true;
            Settle_NeedsLock();
        }

        await _stop.CancelAsync().ConfigureAwait(false);
        ForAll(connection => connection.Drain());
        if (!await EndsWithinAsync(_drained.Task, grace).ConfigureAwait(false))
        {
            ForAll(connection => connection.CancelCalls());
            await EndsWithinAsync(_drained.Task, s_lastWords).ConfigureAwait(false);
        }

        ForAll(connection => connection.Abort());
        await _empty.Task.ConfigureAwait(false);
    }

    /// <summary>Counts a call, unless the server stops.</summary>
    internal bool TryBegin()
    {
        lock (_lock)
        {
            if (_stopping)
            {
                return false;
            }

            _calls++;
            return true;
        }
    }

    /// <summary>A call that was counted has ended, and its answer is out.</summary>
    internal void Worked()
    {
        lock (_lock)
        {
            _calls--;
            Settle_NeedsLock();
        }

        _options.Worked();
    }

    /// <summary>A connection has ended.</summary>
    internal void Closed(IServerConnection connection)
    {
        lock (_lock)
        {
            _connections.Remove(connection);
            _room?.TrySetResult();
            _room = null;
            Settle_NeedsLock();
        }
    }

    /// <summary>A connection on an accepted socket, which is the connection's from now on.</summary>
    private protected abstract IServerConnection NewConnection(UnixSocket socket);

    private void Welcome(UnixSocket socket)
    {
        if (!IsWelcome(socket))
        {
            socket.Dispose();
            return;
        }

        var connection = NewConnection(socket);
        lock (_lock)
        {
            if (_stopping)
            {
                socket.Dispose();
                return;
            }

            _connections.Add(connection);
        }

        _ = connection.RunAsync();
    }

    private bool IsWelcome(UnixSocket socket)
    {
        try
        {
            return _options.Accept(socket);
        }
        catch (Exception e)
        {
            _options.Log($"a peer could not be checked: {e.Message}");
            return false;
        }
    }

    private Task RoomAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_connections.Count < _options.Connections)
            {
                return Task.CompletedTask;
            }

            _room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _room.Task.WaitAsync(cancellationToken);
        }
    }

    private void Settle_NeedsLock()
    {
        if (_stopping && _calls == 0)
        {
            _drained.TrySetResult();
        }

        if (_stopping && _connections.Count == 0)
        {
            _empty.TrySetResult();
        }
    }

    private void ForAll(Action<IServerConnection> action)
    {
        IServerConnection[] connections;
        lock (_lock)
        {
            connections = [.. _connections];
        }

        foreach (var connection in connections)
        {
            action(connection);
        }
    }

    private static async Task<bool> EndsWithinAsync(Task task, TimeSpan limit)
    {
        try
        {
            await task.WithinAsync(limit).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }
}
