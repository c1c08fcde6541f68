using Shim.Loops;

namespace Shim.Transport;

/// <summary>
/// Bytes of a socket, one after another, in a shared buffer that is held only while something comes: an idle connection costs no memory.
/// </summary>
internal sealed class SocketInput(UnixSocket socket, CancellationToken closed) : IDisposable
{
    private byte[]? _buffer;
    private int _start;
    private int _end;

    /// <summary>How many bytes are here already.</summary>
    internal int Buffered => _end - _start;

    /// <summary>Waits until <paramref name="count"/> bytes are here, which fit into a small buffer; false when the connection ends before.</summary>
    internal async ValueTask<bool> FillAsync(int count)
    {
        if (_start == _end && count > 0)
        {
            // Nothing is held while nobody sends.
            Dispose();
            await socket.ReadableAsync(closed).ConfigureAwait(false);
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

    /// <summary>Bytes that are here already, until the next call.</summary>
    internal ReadOnlyMemory<byte> Take(int count)
    {
        _start += count;
        return _buffer.AsMemory(_start - count, count);
    }

    /// <summary>At least one and at most <paramref name="limit"/> bytes, until the next call; none when the connection ends.</summary>
    internal async ValueTask<ReadOnlyMemory<byte>> SomeAsync(int limit) =>
        await FillAsync(1).ConfigureAwait(false) ? Take(Math.Min(limit, Buffered)) : default;

    /// <summary>Gives the buffer back, with what is in it.</summary>
    public void Dispose()
    {
        if (_buffer is { } buffer)
        {
            _buffer = null;
            SmallBuffers.Return(buffer);
        }

        _start = _end = 0;
    }
}
