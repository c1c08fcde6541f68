using System.Diagnostics.CodeAnalysis;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>Writes frames to a socket, one caller after another.</summary>
[SuppressMessage("Design", "CA1001", Justification = "The semaphore has no wait handle, and writers may still stand in its line when the connection has ended.")]
internal sealed class Http2Output(UnixSocket socket, CancellationToken closed)
{
    private readonly SemaphoreSlim _turn = new(1, 1);

    /// <summary>Writes frames that belong together.</summary>
    /// <param name="frames">Whole frames, or the first part of one.</param>
    /// <param name="rest">What follows at once: the payload, without a copy.</param>
    internal async Task SendAsync(ReadOnlyMemory<byte> frames, ReadOnlyMemory<byte> rest = default)
    {
        await _turn.WaitAsync(closed).ConfigureAwait(false);
        try
        {
            await SendAllAsync(frames).ConfigureAwait(false);
            await SendAllAsync(rest).ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Ends a stream before its time.</summary>
    internal Task ResetAsync(int stream, Http2ErrorCode code) =>
        SendAsync(new FrameBuffer(16).Begin(Http2FrameType.ResetStream, Http2Flags.None, stream).Number((uint)code).End().Written);

    /// <summary>Lets the peer send more; stream 0 is the connection.</summary>
    internal Task AddWindowAsync(int stream, int bytes) =>
        SendAsync(new FrameBuffer(16).Begin(Http2FrameType.WindowUpdate, Http2Flags.None, stream).Number((uint)bytes).End().Written);

    private async ValueTask SendAllAsync(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await socket.SendAsync(bytes, closed).ConfigureAwait(false)..];
        }
    }
}
