using System.Buffers;
using System.Text;
using NUnit.Framework;
using Shim.Interop;

namespace Shim.Tests.Stdio;

/// <summary>A client that reads a FIFO to its end on a thread of its own.</summary>
internal sealed class FifoReader
{
    private readonly ArrayBufferWriter<byte> _bytes = new(64 * 1024);
    private readonly Thread _thread;
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _ended;

    internal FifoReader(string path)
    {
        _thread = new Thread(() =>
        {
            using var fifo = Fd.Open(path, Libc.O_RDONLY);
            _opened.SetResult();
            var buffer = new byte[64 * 1024];
            int count;
            while ((count = Fd.Read(fifo, buffer)) > 0)
            {
                lock (_bytes)
                {
                    _bytes.Write(buffer.AsSpan(0, count));
                }
            }

            _ended = true;
        })
        { IsBackground = true };
        _thread.Start();
        Assert.That(_opened.Task.Wait(TimeSpan.FromSeconds(20)), Is.True, "the FIFO could not be opened in time");
    }

    /// <summary>Whether the end has been read.</summary>
    internal bool Ended => _ended;

    /// <summary>What has been read so far.</summary>
    internal string Text
    {
        get
        {
            lock (_bytes)
            {
                return Encoding.UTF8.GetString(_bytes.WrittenSpan);
            }
        }
    }

    /// <summary>Everything, once the end has been read.</summary>
    internal string ReadToEnd(int milliseconds = 60_000)
    {
        Assert.That(_thread.Join(milliseconds), Is.True, $"the FIFO did not end in time, after {_bytes.WrittenCount} bytes");
        return Text;
    }
}
