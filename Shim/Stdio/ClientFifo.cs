using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>
/// A FIFO of one client who matters: when he has gone, nobody comes after him. Nothing is kept open here beyond the writing end, so his leaving
/// shows: to a relay as EPIPE and EPOLLERR, to a process that has the descriptor itself as SIGPIPE.
/// </summary>
internal sealed class ClientFifo : OutputSink
{
    private ClientFifo(SafeFileHandle writer, OnDisconnect onDisconnect)
        : base(writer) => OnDisconnect = onDisconnect;

    /// <summary>What his leaving means.</summary>
    internal OnDisconnect OnDisconnect { get; }

    internal override bool CanWait => true;

    // What is written is his.
    internal override Task Delivered => Task.CompletedTask;

    internal static ClientFifo Open(StreamAddress address, bool blocking)
    {
        var writer = OpenWriter(address);
        Fd.SetNonBlocking(writer, !blocking);
        return new ClientFifo(writer, address.OnDisconnect);
    }

    /// <summary>Opens the writing end, non-blocking; InvalidArgument when nobody has the reading end.</summary>
    internal static SafeFileHandle OpenWriter(StreamAddress address)
    {
        try
        {
            using var reference = Descriptors.OpenFifoReference(address.Path);
            return Descriptors.Reopen(reference, Libc.O_WRONLY | Libc.O_NONBLOCK);
        }
        catch (NativeException e) when (e.Number == Errno.ENXIO)
        {
            throw address.Refusal("nobody has opened it for reading");
        }
    }

    internal override void End()
    {
    }

    internal override void Recheck()
    {
    }
}
