namespace Shim.Transport.Ttrpc;

/// <summary>A message is too large for a frame. Nothing of it was sent, the connection is as good as before.</summary>
internal sealed class MessageTooLargeException(long length)
    : Exception($"message length {length} exceed maximum message size of {FrameHeader.MaxLength}");
