using Shim.Loops;

namespace Shim.Transport.Ttrpc;

/// <summary>
/// Reads frames from a socket, one after another. While nothing comes it holds no memory; small frames are read into a shared buffer,
/// large ones into an array of their own that is paid for from a budget.
/// </summary>
internal sealed class FrameReader(UnixSocket socket, MemoryBudget budget, TtrpcLimits limits, CancellationToken closed) : IDisposable
{
    // What a body costs until its message exists: the array, the payload taken out of it, and the message.
    private const int CopiesWhileParsing = 3;

    private readonly SocketInput _input = new(socket, closed);
    private long _discard;

    /// <summary>
    /// The next frame, or null at the end of the connection, also when it ends within a frame. The data of an oversized frame is thrown
    /// away before the next one is read, so that an answer can go out first.
    /// </summary>
    internal async ValueTask<Frame?> ReadAsync()
    {
        if (!await DiscardAsync().ConfigureAwait(false) || !await _input.FillAsync(FrameHeader.Size).ConfigureAwait(false))
        {
            return null;
        }

        var header = FrameHeader.Read(_input.Take(FrameHeader.Size).Span);
        if (header.IsOversized)
        {
            _discard = header.Length;
            return new Frame(header, default, null);
        }

        var length = (int)header.Length;
        if (length > SmallBuffers.Size)
        {
            return await ReadLargeAsync(header).ConfigureAwait(false);
        }

        return await _input.FillAsync(length).ConfigureAwait(false) ? new Frame(header, _input.Take(length), null) : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _input.Dispose();

    private async ValueTask<bool> DiscardAsync()
    {
        while (_discard > 0)
        {
            var passed = await _input.SomeAsync((int)Math.Min(_discard, SmallBuffers.Size)).ConfigureAwait(false);
            if (passed.IsEmpty)
            {
                return false;
            }

            _discard -= passed.Length;
        }

        return true;
    }

    private async ValueTask<Frame?> ReadLargeAsync(FrameHeader header)
    {
        var length = (int)header.Length;
        var lease = await budget.TakeAsync((long)length * CopiesWhileParsing, closed).ConfigureAwait(false);
        try
        {
            var body = GC.AllocateUninitializedArray<byte>(length);
            var filled = Math.Min(length, _input.Buffered);
            _input.Take(filled).CopyTo(body);
            using var patience = new Patience(closed);
            while (filled < length)
            {
                patience.Renew(limits.Stall);
                var received = await socket.ReceiveAsync(body.AsMemory(filled), patience.Token).ConfigureAwait(false);
                if (received == 0)
                {
                    lease.Dispose();
                    return null;
                }

                filled += received;
            }

            return new Frame(header, body, lease);
        }
        catch
        {
            lease.Dispose();
            throw;
        }
    }
}
