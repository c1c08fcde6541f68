using Google.Protobuf;

namespace Shim.Transport.Ttrpc;

/// <summary>The client's side of an open stream. One reader and one writer at a time; the two may go side by side.</summary>
internal sealed class TtrpcClientStream : IDisposable
{
    private readonly TtrpcClient _client;
    private readonly StreamClientCall _call;
    private readonly ClientPatience _patience;
    private bool _completed;

    internal TtrpcClientStream(TtrpcClient client, StreamClientCall call, ClientPatience patience, bool sends)
    {
        _client = client;
        _call = call;
        _patience = patience;
        _completed = !sends;
    }

    /// <summary>
    /// The next message of the server, or null when it has sent its last; RpcException when the call failed. After a stream of the client
    /// only, it is the server's one answer.
    /// </summary>
    internal async Task<T?> ReadAsync<T>(MessageParser<T> parser)
        where T : class, IMessage<T>
    {
        try
        {
            return await _call.Inbox.ReadAsync(parser, _patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw _patience.Error;
        }
    }

    /// <summary>Sends a message.</summary>
    internal Task WriteAsync(IMessage message) => !_completed
        ? _client.SendDataAsync(_call.Id, FrameFlags.None, message, _patience)
        : throw new InvalidOperationException("the stream was completed");

    /// <summary>Says that nothing more will be sent.</summary>
    internal Task CompleteAsync()
    {
        if (_completed)
        {
            return Task.CompletedTask;
        }

        _completed = true;
        return _client.SendDataAsync(_call.Id, FrameFlags.RemoteClosed | FrameFlags.NoData, null, _patience);
    }

    /// <summary>Forgets the stream. The protocol has no way to tell the server; one that waits for messages learns that none will come.</summary>
    public void Dispose()
    {
        if (_client.Forget(_call) && !_completed)
        {
            _completed = true;
            _client.SendLast(_call.Id);
        }

        _call.Inbox.Dispose();
        _patience.Dispose();
    }
}
