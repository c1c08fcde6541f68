namespace Shim.Transport.Http2;

/// <summary>Why a stream or a connection ends (RFC 9113, section 7).</summary>
internal enum Http2ErrorCode : uint
{
    NoError = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}
