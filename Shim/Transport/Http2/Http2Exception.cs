namespace Shim.Transport.Http2;

/// <summary>The peer broke the protocol in a way that ends the connection.</summary>
internal sealed class Http2Exception(Http2ErrorCode code, string message) : Exception(message)
{
    internal Http2ErrorCode Code { get; } = code;
}
