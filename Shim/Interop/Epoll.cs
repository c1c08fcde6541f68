using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Shim.Interop;

/// <summary>An epoll instance. The caller removes a descriptor before it closes it: a duplicate elsewhere would keep it in the set.</summary>
internal sealed unsafe class Epoll : IDisposable
{
    private readonly SafeFileHandle _handle = Fd.Own(Libc.EpollCreate1(Libc.EPOLL_CLOEXEC), "epoll_create1");

    /// <summary>Adds a descriptor; its events will carry <paramref name="data"/>.</summary>
    internal void Add(SafeHandle handle, uint events, long data) => Control(Libc.EPOLL_CTL_ADD, handle, events, data);

    /// <summary>Changes what is waited for. What already holds is reported again.</summary>
    internal void Modify(SafeHandle handle, uint events, long data) => Control(Libc.EPOLL_CTL_MOD, handle, events, data);

    /// <summary>Takes a descriptor out.</summary>
    internal void Remove(SafeHandle handle) => Control(Libc.EPOLL_CTL_DEL, handle, 0, 0);

    /// <summary>
    /// Blocks until something happens, or the time is over (-1 is never), and returns how many entries of <paramref name="events"/> were filled. May return
    /// early with none.
    /// </summary>
    internal int Wait(Span<Libc.EpollEvent> events, int timeoutMilliseconds = -1)
    {
        fixed (Libc.EpollEvent* first = events)
        {
            var count = Libc.EpollWait(Fd.Number(_handle), first, events.Length, timeoutMilliseconds);
            return count >= 0 || Errno.Last == Errno.EINTR ? Math.Max(count, 0) : throw Errno.Exception("epoll_wait");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private void Control(int operation, SafeHandle handle, uint events, long data)
    {
        var change = new Libc.EpollEvent { Events = events, Data = data };
        // Not Fd.Number: an owner may dispose of a handle first and of its registration, which holds a reference, afterwards.
        if (Libc.EpollCtl(Fd.Number(_handle), operation, (int)handle.DangerousGetHandle(), &change) == -1)
        {
            throw Errno.Exception("epoll_ctl");
        }
    }
}
