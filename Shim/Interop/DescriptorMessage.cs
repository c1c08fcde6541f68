using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

/// <summary>One message of a unix socket together with the descriptors that came with it, each owned from the start.</summary>
/// <param name="Length">Bytes of the message; 0 when the peer has closed the connection.</param>
/// <param name="Descriptors">What came along, close-on-exec.</param>
/// <param name="Truncated">The peer sent more descriptors than fit, and the kernel has dropped the rest.</param>
internal sealed record DescriptorMessage(int Length, IReadOnlyList<SafeFileHandle> Descriptors, bool Truncated) : IDisposable
{
    // One is expected. The room for more is there to see that more came, and to close them.
    private const int MaxDescriptors = 4;
    private const int MaxBytes = 4096;

    /// <summary>Receives one message if there is one; null when there is none yet (EAGAIN).</summary>
    internal static unsafe DescriptorMessage? TryReceive(SafeHandle socket)
    {
        // A cmsghdr is followed by its data directly and padded to the size of a pointer.
        var headerSize = sizeof(Libc.ControlHeader);
        var controlSize = headerSize + (MaxDescriptors * sizeof(int));
        var control = stackalloc long[(controlSize + sizeof(long) - 1) / sizeof(long)];
        var bytes = stackalloc byte[MaxBytes];
        var vector = new Libc.IoVector { Base = bytes, Length = MaxBytes };
        var message = new Libc.MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = (nuint)controlSize };
        nint length;
        do
        {
            length = Libc.RecvMsg(Fd.Number(socket), &message, Libc.MSG_CMSG_CLOEXEC | Libc.MSG_DONTWAIT);
        }
        while (length == -1 && Errno.Last == Errno.EINTR);
        if (length == -1)
        {
            return Errno.Last == Errno.EAGAIN ? null : throw Errno.Exception("recvmsg");
        }

        var descriptors = new List<SafeFileHandle>();
        var header = (Libc.ControlHeader*)control;
        if (message.ControlLength >= (nuint)headerSize && header->Level == Libc.SOL_SOCKET && header->Type == Libc.SCM_RIGHTS)
        {
            var numbers = (int*)(header + 1);
            var count = ((int)header->Length - headerSize) / sizeof(int);
            for (var i = 0; i < count; i++)
            {
                descriptors.Add(new SafeFileHandle(numbers[i], ownsHandle: true));
            }
        }

        return new DescriptorMessage((int)length, descriptors, (message.Flags & Libc.MSG_CTRUNC) != 0);
    }

    /// <summary>Closes all descriptors.</summary>
    public void Dispose()
    {
        foreach (var descriptor in Descriptors)
        {
            descriptor.Dispose();
        }
    }
}
