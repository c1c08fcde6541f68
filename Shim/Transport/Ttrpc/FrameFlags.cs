namespace Shim.Transport.Ttrpc;

/// <summary>The flags of a frame, said from the receiver's view: its remote side is the sender.</summary>
[Flags]
internal enum FrameFlags : byte
{
    /// <summary>A unary request, a response, or a message on a stream.</summary>
    None = 0,

    /// <summary>The sender will send nothing more on this stream.</summary>
    RemoteClosed = 1,

    /// <summary>A request whose sender will send messages on the stream.</summary>
    RemoteOpen = 2,

    /// <summary>There is no message in this frame; without the flag a frame of no length is an empty message.</summary>
    NoData = 4,
}
