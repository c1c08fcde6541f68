namespace Shim.Transport.Ttrpc;

/// <summary>What a frame is for. Other numbers may come from a newer peer and are passed over.</summary>
internal enum FrameType : byte
{
    /// <summary>Opens a stream; only clients send it.</summary>
    Request = 1,

    /// <summary>Ends a stream; only servers send it.</summary>
    Response = 2,

    /// <summary>One message on an open stream, or its end.</summary>
    Data = 3,
}
