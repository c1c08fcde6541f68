using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Supervisor.Cli.Output;

/// <summary>
/// Writes to one of our standard descriptors with write(2). Not a FileStream: that one writes to regular files at offsets of its own,
/// which overwrites what others append to the same file, and Console changes terminal settings behind our back.
/// </summary>
internal sealed class DescriptorStream(int descriptor) : Stream
{
    private readonly SafeFileHandle _handle = new(descriptor, ownsHandle: false);

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = Fd.Write(_handle, buffer);
            if (count >= 0)
            {
                buffer = buffer[count..];
            }
            else if (Errno.Last == Errno.EAGAIN)
            {
                // Somebody who shares our terminal or pipe has made it non-blocking.
                Readiness.Wait(_handle, Libc.POLLOUT, Timeout.Infinite);
            }
            else
            {
                throw Errno.Exception("write");
            }
        }
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
