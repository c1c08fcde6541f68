using Containerd.Ttrpc;
using Google.Protobuf;
using Grpc.Core;

namespace Shim.Transport.Ttrpc;

/// <summary>One call on a server's connection, from its request to the one frame that ends it.</summary>
internal sealed class ServerCall : IThreadPoolWorkItem
{
    private readonly ServerConnection _connection;
    private readonly TtrpcMethod _method;
    private readonly MemoryLease? _lease;
    private ByteString _payload;
    private int _ended;

    internal ServerCall(ServerConnection connection, uint id, TtrpcMethod method, Request request, MemoryLease? lease)
    {
        _connection = connection;
        _method = method;
        _lease = lease;
        _payload = request.Payload;
        Id = id;
        Context = new TtrpcContext(request);
        Inbox = method.TakesStream ? new StreamInbox() : null;

        // Some clients put the first message of a stream into its request.
        if (Inbox is not null && _payload.Length > 0)
        {
            Inbox.Add(_payload.ToByteArray());
        }
    }

    /// <summary>The number of the stream.</summary>
    internal uint Id { get; }

    /// <summary>What the handler knows.</summary>
    internal TtrpcContext Context { get; }

    /// <summary>Where messages of the caller go; null when the method takes none.</summary>
    internal StreamInbox? Inbox { get; }

    /// <summary>Whether the call is one with a stream in either direction.</summary>
    internal bool IsStream => _method.TakesStream || _method.GivesStream;

    /// <summary>Whether the caller has said that nothing more comes from it.</summary>
    internal bool RemoteClosed { get; private set; }

    /// <summary>The caller sends nothing more.</summary>
    internal void CloseRemote()
    {
        RemoteClosed = true;
        Inbox?.End();
    }

    /// <summary>The stream for a handler that takes messages.</summary>
    internal TtrpcStream NewStream() => new(Inbox!, WriteAsync, Context.CancellationToken);

    /// <summary>The writer for a handler that only gives messages.</summary>
    internal TtrpcStreamWriter NewWriter() => new(WriteAsync);

    /// <summary>Runs the handler on a thread of the pool, so that one that blocks does not keep its connection from being read.</summary>
    public void Execute() => _ = RunAsync();

    /// <summary>Ends the call with an error that is not the handler's, and tells the handler to give up. Nothing if it has ended.</summary>
    internal async Task BreakAsync(Status status)
    {
        if (TryEnd())
        {
            Context.Cancel();
            await _connection.SendStatusAsync(Id, status).ConfigureAwait(false);
        }
    }

    private async Task RunAsync()
    {
        try
        {
            await AnswerAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (ServerConnection.IsLoss(e))
        {
            // Nobody is there to be told; the connection's reader sees it too and cleans up.
            _connection.Abort();
        }
        catch (Exception e)
        {
            _connection.Abort();
            _connection.Log($"ttrpc: {Context.Service}/{Context.Method}: {e}");
        }
        finally
        {
            _connection.Ended(this);
            Inbox?.Dispose();
            Context.Dispose();
            _lease?.Dispose();
            _connection.Worked();
        }
    }

    private async Task AnswerAsync()
    {
        IMessage? answer = null;
        Status? error = null;
        try
        {
            // A deadline that had passed before the request came needs no work.
            Context.CancellationToken.ThrowIfCancellationRequested();
            answer = await _method.RunAsync(this, TakePayload()).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            error = StatusOf(e);
        }

        if (error is null && answer is null && !_method.GivesStream)
        {
            error = new Status(StatusCode.Internal, "the method gave no answer");
        }

        if (!TryEnd())
        {
            return;
        }

        if (error is { } status)
        {
            await _connection.SendStatusAsync(Id, status).ConfigureAwait(false);
            return;
        }

        try
        {
            await _connection.SendEndAsync(Id, answer).ConfigureAwait(false);
        }
        catch (MessageTooLargeException e)
        {
            await _connection.SendStatusAsync(Id, StatusOf(e)).ConfigureAwait(false);
        }
    }

    // Once: nothing keeps the payload when its message exists.
    private ByteString TakePayload()
    {
        var payload = _payload;
        _payload = ByteString.Empty;
        return payload;
    }

    private Status StatusOf(Exception exception) => exception switch
    {
        RpcException { StatusCode: not StatusCode.OK } rpc => rpc.Status,
        MessageTooLargeException => new Status(StatusCode.ResourceExhausted, exception.Message),
        OperationCanceledException when Context.CancellationToken.IsCancellationRequested => Context.Cancelled,
        _ => _connection.ToStatus(exception),
    };

    // Nothing follows the frame that ends a stream; and a handler whose caller has given up does not stay in the line.
    private Task WriteAsync(IMessage message)
    {
        Context.CancellationToken.ThrowIfCancellationRequested();
        return Volatile.Read(ref _ended) == 0
            ? _connection.SendMessageAsync(Id, message, Context.CancellationToken)
            : throw new InvalidOperationException("the stream has ended");
    }

    private bool TryEnd() => Interlocked.Exchange(ref _ended, 1) == 0;
}
