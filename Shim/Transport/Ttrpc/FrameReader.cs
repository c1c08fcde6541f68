using System.Net.Sockets;

namespace Shim.Transport.Ttrpc;

/// <summary>
/// Reads frames from a socket, one after another. While nothing comes it holds no memory; small frames are read into a shared buffer,
/// large ones into an array of their own that is paid for from a budget.
/// </summary>
internal sealed class FrameReader(Socket socket, MemoryBudget budget, TtrpcLimits limits, CancellationToken closed) : IDisposable
{
    // What a body costs until its message exists: the array, the payload taken out of it, and the message.
    private const int CopiesWhileParsing = 3;

    private byte[]? _buffer;
    private int _start;
    private int _end;
    private long _discard;

    /// <summary>
    /// The next frame, or null at the end of the connection, also when it ends within a frame. The data of an oversized frame is thrown
    /// away before the next one is read, so that an answer can go out first.
    /// </summary>
    internal async ValueTask<Frame?> ReadAsync()
    {
        if (!await DiscardAsync().ConfigureAwait(false) || !await FillAsync(FrameHeader.Size).ConfigureAwait(false))
        {
            return null;
        }

        var header = FrameHeader.Read(_buffer.AsSpan(_start));
        _start += FrameHeader.Size;
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

        if (!await FillAsync(length).ConfigureAwait(false))
        {
            return null;
        }

        var body = _buffer.AsMemory(_start, length);
        _start += length;
        return new Frame(header, body, null);
    }

    /// <inheritdoc/>
    public void Dispose() => Release();

    private async ValueTask<bool> DiscardAsync()
    {
        while (_discard > 0)
        {
            if (_start == _end && !await FillAsync(1).ConfigureAwait(false))
            {
                return false;
            }

            var passed = (int)Math.Min(_discard, _end - _start);
            _start += passed;
            _discard -= passed;
        }

        return true;
    }

    private async ValueTask<bool> FillAsync(int count)
    {
        if (_start == _end && count > 0)
        {
            // Nothing is held while nobody sends: a receive of no bytes ends when there is something to read.
            Release();
            await socket.ReceiveAsync(Memory<byte>.Empty, closed).ConfigureAwait(false);
            _buffer = SmallBuffers.Rent();
        }

        while (_end - _start < count)
        {
            if (_start + count > SmallBuffers.Size)
            {
                _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
                _end -= _start;
                _start = 0;
            }

            var received = await socket.ReceiveAsync(_buffer.AsMemory(_end), closed).ConfigureAwait(false);
            if (received == 0)
            {
                return false;
            }

            _end += received;
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
            var filled = Math.Min(length, _end - _start);
            _buffer.AsSpan(_start, filled).CopyTo(body);
            _start += filled;
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(closed);
            while (filled < length)
            {
                patience.CancelAfter(limits.Stall);
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

    private void Release()
    {
        if (_buffer is { } buffer)
        {
            _buffer = null;
            SmallBuffers.Return(buffer);
        }

        _start = _end = 0;
    }
}
