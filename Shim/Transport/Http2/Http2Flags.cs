namespace Shim.Transport.Http2;

/// <summary>The flags of a frame. What a bit means depends on the type.</summary>
[Flags]
internal enum Http2Flags : byte
{
    None = 0,

    /// <summary>Of DATA and HEADERS: nothing follows on this stream.</summary>
    EndStream = 1,

    /// <summary>Of SETTINGS and PING.</summary>
    Ack = EndStream,

    /// <summary>Of HEADERS and CONTINUATION: no CONTINUATION follows.</summary>
    EndHeaders = 4,

    /// <summary>Of DATA and HEADERS.</summary>
    Padded = 8,

    /// <summary>Of HEADERS.</summary>
    Priority = 32,
}
