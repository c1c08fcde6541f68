using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;
using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>The messages of one stream that have come and were not read yet: a bounded line, filled by the connection and emptied by one reader.</summary>
internal sealed class StreamInbox : IDisposable
{
    /// <summary>How many messages wait at most.</summary>
    internal const int Capacity = 16;

    private readonly Channel<Message> _messages = Channel.CreateBounded<Message>(
        new BoundedChannelOptions(Capacity) { SingleReader = true, SingleWriter = true });

    /// <summary>Adds the message of a frame. False when there was no room within <paramref name="patience"/>, or the stream has ended.</summary>
    internal async ValueTask<bool> AddAsync(Frame frame, TimeSpan patience, CancellationToken cancellationToken)
    {
        var message = new Message(frame.Keep(), frame.Lease);
        message.Lease?.ShrinkTo(message.Body.Length);
        if (_messages.Writer.TryWrite(message))
        {
            return true;
        }

        using var limit = new Patience(patience, cancellationToken);
        try
        {
            await _messages.Writer.WriteAsync(message, limit.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is OperationCanceledException or ChannelClosedException or RpcException)
        {
            message.Lease?.Dispose();
            return false;
        }
    }

    /// <summary>Adds a message that is there already, as the first.</summary>
    internal void Add(byte[] body) => _messages.Writer.TryWrite(new Message(body, null));

    /// <summary>Nothing more comes: the reader gets what is there, and then the end or <paramref name="error"/>.</summary>
    internal bool End(RpcException? error = null) => _messages.Writer.TryComplete(error);

    /// <summary>The next message, or null at the end.</summary>
    internal async ValueTask<T?> ReadAsync<T>(MessageParser<T> parser, CancellationToken cancellationToken)
        where T : class, IMessage<T>
    {
        while (await _messages.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (_messages.Reader.TryRead(out var message))
            {
                using (message.Lease)
                {
                    return Parse(parser, message.Body);
                }
            }
        }

        return null;
    }

    /// <summary>Forgets what nobody will read.</summary>
    public void Dispose()
    {
        End();
        while (_messages.Reader.TryRead(out var message))
        {
            message.Lease?.Dispose();
        }
    }

    private static T Parse<T>(MessageParser<T> parser, byte[] body)
        where T : IMessage<T>
    {
        try
        {
            return parser.ParseFrom(body);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"unmarshal payload error: {e.Message}"));
        }
    }

    private readonly record struct Message(byte[] Body, MemoryLease? Lease);
}
