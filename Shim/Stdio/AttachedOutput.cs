using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// A client who has attached himself to an output that passes through here: he gets a copy, as fast as he reads it. He never delays anybody:
/// what does not fit into his FIFO is dropped, and he is told how much. Only for the thread of its loop.
/// </summary>
internal sealed class AttachedOutput : IDisposable
{
    // As large as an unprivileged pipe may be: what a client may be behind.
    private const int Backlog = 1024 * 1024;

    private readonly SafeFileHandle _writer;
    private readonly EventLoop.Registration _registration;
    private long _dropped;

    private AttachedOutput(EventLoop loop, string address, SafeFileHandle writer, Action<AttachedOutput> left)
    {
        (Address, _writer) = (address, writer);

        // Told by the kernel when the last reader closes, also when there is nothing to write.
        _registration = loop.Register(writer, 0, _ => left(this));
    }

    /// <summary>The FIFO as the client named it.</summary>
    internal string Address { get; }

    /// <summary>Opens the client's FIFO, of which he has the reading end; InvalidArgument when nobody has.</summary>
    /// <param name="address">A FIFO's address.</param>
    /// <param name="loop">Tells of his leaving.</param>
    /// <param name="left">Called when he has left, on the loop's thread, maybe more than once.</param>
    internal static AttachedOutput Open(StreamAddress address, EventLoop loop, Action<AttachedOutput> left)
    {
        var writer = ClientFifo.OpenWriter(address);
        try
        {
            // A wish: the limit of pipes per user may be reached.
            _ = Libc.Fcntl(Fd.Number(writer), Libc.F_SETPIPE_SZ, Backlog);
            return new AttachedOutput(loop, address.Given, writer, left);
        }
        catch
        {
            writer.Dispose();
            throw;
        }
    }

    /// <summary>Gives him what fits. False when he has left.</summary>
    internal bool Offer(ReadOnlySpan<byte> bytes)
    {
        if (_dropped > 0 && !TellOfGap())
        {
            _dropped += bytes.Length;
            return true;
        }

        while (!bytes.IsEmpty)
        {
            var count = Fd.Write(_writer, bytes);
            if (count < 0)
            {
                _dropped += bytes.Length;
                return Errno.Last == Errno.EAGAIN;
            }

            bytes = bytes[count..];
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _registration.Dispose();
        _writer.Dispose();
    }

    private bool TellOfGap()
    {
        // Less than PIPE_BUF, so it is written as a whole or not at all.
        var words = string.Create(CultureInfo.InvariantCulture, $"\r\n[{_dropped} bytes were left out here: they were not read in time]\r\n");
        if (Fd.Write(_writer, Encoding.ASCII.GetBytes(words)) < 0)
        {
            return false;
        }

        _dropped = 0;
        return true;
    }
}
