using Google.Protobuf;

namespace Shim.Transport.Ttrpc;

/// <summary>What a handler of a server stream writes to; the stream ends when the handler does.</summary>
internal sealed class TtrpcStreamWriter(Func<IMessage, Task> write)
{
    /// <summary>Sends a message. It returns when the socket has taken it, so a peer that does not read slows the handler down.</summary>
    internal Task WriteAsync(IMessage message) => write(message);
}
