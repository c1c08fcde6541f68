using System.Text;
using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Shim.Tests.Support;

/// <summary>Writes to a FIFO whose read end somebody else opens.</summary>
public sealed class FifoWriter : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _handle;

    private FifoWriter(string path, SafeFileHandle handle) => (_path, _handle) = (path, handle);

    /// <summary>Opens the write end as soon as there is a reader.</summary>
    public static async Task<FifoWriter> OpenAsync(string path, TimeSpan deadline)
    {
        var handle = await Poll.For(
            () => Fifo.Open(path, OpenFlags.O_WRONLY | OpenFlags.O_NONBLOCK), _ => true, deadline, $"a reader of {path}");
        return new FifoWriter(path, handle);
    }

    /// <summary>Writes all of a text, waiting for the reader where the pipe is full.</summary>
    public Task WriteAsync(string text, TimeSpan deadline) => WriteAsync(Encoding.UTF8.GetBytes(text), deadline);

    /// <summary>Writes all bytes, waiting for the reader where the pipe is full.</summary>
    public async Task WriteAsync(byte[] bytes, TimeSpan deadline)
    {
        ArgumentNullException.ThrowIfNull(bytes);
        var written = 0;
        await Poll.Until(
            () =>
            {
                for (var step = 1; written < bytes.Length && step > 0;)
                {
                    step = WriteSome(bytes, written);
                    written += step;
                }

                return written == bytes.Length;
            },
            deadline,
            $"{bytes.Length} bytes written to {_path}");
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    // 0 when the pipe is full.
    private unsafe int WriteSome(byte[] bytes, int from)
    {
        fixed (byte* start = bytes)
        {
            var result = (int)Syscall.write((int)_handle.DangerousGetHandle(), start + from, (ulong)(bytes.Length - from));
            return result >= 0 || Stdlib.GetLastError() is Errno.EAGAIN or Errno.EINTR
                ? Math.Max(result, 0)
                : throw new IOException($"write {_path}: {Stdlib.GetLastError()}");
        }
    }
}
