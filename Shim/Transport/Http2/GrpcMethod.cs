using Google.Protobuf;

namespace Shim.Transport.Http2;

/// <summary>A method: one request, and one answer or a stream of them.</summary>
/// <param name="Path">Service and name, as they stand in a request.</param>
/// <param name="Parser">Reads the request.</param>
/// <param name="Answer">Does it. The message is one that <paramref name="Parser"/> has read; null when the answers have been written already.</param>
internal sealed record GrpcMethod(string Path, MessageParser Parser, Func<IMessage, GrpcCall, Task<IMessage?>> Answer);
