using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;
using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>
/// Writes frames to a socket, one after another in the order in which they were asked for. A message becomes bytes only when it is its
/// turn: however many answers wait for a peer that does not read, one of them at most is there twice.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The semaphore has no wait handle, and writers may still stand in its line when the connection has ended.")]
internal sealed class FrameWriter(UnixSocket socket, MemoryBudget budget, TtrpcLimits limits, CancellationToken closed)
{
    // Field 2 of Response, a length-delimited one.
    private const byte PayloadTag = (2 << 3) | 2;

    private readonly SemaphoreSlim _turn = new(1, 1);
    private int _waiting;

    /// <summary>How many frames are written or wait for it.</summary>
    internal int Waiting => Volatile.Read(ref _waiting);

    /// <summary>Writes a frame with <paramref name="message"/> as its data, or with none. Giving up is possible until it is its turn.</summary>
    internal Task WriteAsync(uint streamId, FrameType type, FrameFlags flags, IMessage? message, CancellationToken cancellationToken = default) =>
        WriteAsync(() => streamId, type, flags, message, asPayload: false, cancellationToken);

    /// <summary>Writes a response frame of success; <paramref name="answer"/> is written straight into its payload, without a copy.</summary>
    internal Task WriteAnswerAsync(uint streamId, IMessage answer) =>
        WriteAsync(() => streamId, FrameType.Response, FrameFlags.None, answer, asPayload: true, CancellationToken.None);

    /// <summary>
    /// Writes a request frame. The number of its stream is asked for when it is its turn, so that numbers rise on the wire. A frame that has
    /// begun is written to its end.
    /// </summary>
    internal Task WriteRequestAsync(Func<uint> open, FrameFlags flags, IMessage request, CancellationToken cancellationToken) =>
        WriteAsync(open, FrameType.Request, flags, request, asPayload: false, cancellationToken);

    /// <summary>Waits until all that was asked for before has been written.</summary>
    internal async Task PassAsync()
    {
        await _turn.WaitAsync(closed).ConfigureAwait(false);
        _turn.Release();
    }

    private async Task WriteAsync(
        Func<uint> streamId,
        FrameType type,
        FrameFlags flags,
        IMessage? message,
        bool asPayload,
        CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _waiting);
        try
        {
            await EnterAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                await SendAsync(streamId, type, flags, message, asPayload).ConfigureAwait(false);
            }
            finally
            {
                _turn.Release();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    private async Task EnterAsync(CancellationToken cancellationToken)
    {
        if (!cancellationToken.CanBeCanceled)
        {
            await _turn.WaitAsync(closed).ConfigureAwait(false);
            return;
        }

        // Ends with the caller's patience or with the connection.
        using var either = CancellationTokenSource.CreateLinkedTokenSource(closed, cancellationToken);
        await _turn.WaitAsync(either.Token).ConfigureAwait(false);
    }

    private async Task SendAsync(Func<uint> streamId, FrameType type, FrameFlags flags, IMessage? message, bool asPayload)
    {
        var size = message?.CalculateSize() ?? 0;
        var prefix = asPayload && size > 0 ? 1 + CodedOutputStream.ComputeLengthSize(size) : 0;
        var length = prefix + size;
        if (length > FrameHeader.MaxLength)
        {
            throw new MessageTooLargeException(length);
        }

        var total = FrameHeader.Size + length;
        var small = total <= SmallBuffers.Size;
        using var lease = small ? null : await budget.TakeAsync(total, closed).ConfigureAwait(false);
        var buffer = small ? SmallBuffers.Rent() : GC.AllocateUninitializedArray<byte>(total);
        try
        {
            Compose(buffer, new FrameHeader((uint)length, streamId(), type, flags), prefix, message, size);
            await SendAllAsync(buffer.AsMemory(0, total), small).ConfigureAwait(false);
        }
        finally
        {
            if (small)
            {
                SmallBuffers.Return(buffer);
            }
        }
    }

    private static void Compose(byte[] buffer, FrameHeader header, int prefix, IMessage? message, int size)
    {
        header.Write(buffer);
        if (prefix > 0)
        {
            buffer[FrameHeader.Size] = PayloadTag;
            var at = FrameHeader.Size + 1;
            var rest = (uint)size;
            for (; rest > 0x7f; rest >>= 7)
            {
                buffer[at++] = (byte)(rest | 0x80);
            }

            buffer[at] = (byte)rest;
        }

        message?.WriteTo(buffer.AsSpan(FrameHeader.Size + prefix, size));
    }

    private async Task SendAllAsync(ReadOnlyMemory<byte> frame, bool small)
    {
        // A peer may take its time over small frames. Over large ones it holds memory that others wait for.
        using var patience = small ? null : new Patience(closed);
        while (!frame.IsEmpty)
        {
            patience?.Renew(limits.Stall);
            var sent = await socket.SendAsync(frame, patience?.Token ?? closed).ConfigureAwait(false);
            frame = frame[sent..];
        }
    }
}
