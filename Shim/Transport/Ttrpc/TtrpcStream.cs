using Google.Protobuf;

namespace Shim.Transport.Ttrpc;

/// <summary>The server's side of an open stream. One reader and one writer at a time; the two may go side by side.</summary>
internal sealed class TtrpcStream(StreamInbox inbox, Func<IMessage, Task> write, CancellationToken cancellationToken)
{
    /// <summary>The next message of the other side, or null when it has sent its last.</summary>
    internal ValueTask<T?> ReadAsync<T>(MessageParser<T> parser)
        where T : class, IMessage<T> =>
        inbox.ReadAsync(parser, cancellationToken);

    /// <summary>Sends a message. It returns when the socket has taken it, so a peer that does not read slows its writer down.</summary>
    internal Task WriteAsync(IMessage message) => write(message);
}
