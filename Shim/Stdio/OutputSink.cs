using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>Where a process writes to.</summary>
internal abstract class OutputSink : IDisposable
{
    // 0600: what a container prints is nobody else's business.
    private const uint NewFileMode = 0x180;

    /// <param name="writer">See <see cref="Writer"/>.</param>
    protected OutputSink(SafeFileHandle writer) => Writer = writer;

    /// <summary>The writing end: the process's own stdout or stderr, or what a terminal relay writes to.</summary>
    internal SafeFileHandle Writer { get; }

    /// <summary>Whether writes have to be waited for (a FIFO), rather than being done at once.</summary>
    internal abstract bool CanWait { get; }

    /// <summary>Completes after <see cref="End"/>, when closing what we hold can no longer lose a byte.</summary>
    internal abstract Task Delivered { get; }

    /// <summary>Opens a checked address for writing.</summary>
    /// <param name="address">What to open.</param>
    /// <param name="blocking">Whether <see cref="Writer"/> blocks: yes for a process, no for a relay. Opening it never does.</param>
    /// <param name="loop">Watches for readers if need be.</param>
    internal static OutputSink Open(StreamAddress address, bool blocking, StreamLoop loop)
    {
        if (address.Kind == StreamKind.Fifo)
        {
            return OutputFifo.Open(address.Path, blocking, loop);
        }

        // Non-blocking for the open only: if somebody has put a FIFO there meanwhile, it fails instead of waiting for a reader.
        var flags = Libc.O_WRONLY | Libc.O_NOFOLLOW | Libc.O_NOCTTY | Libc.O_NONBLOCK;
        var file = address.Kind == StreamKind.Null
            ? Fd.Open(address.Path, flags)
            : Fd.Open(address.Path, flags | Libc.O_APPEND | (address.MayCreate ? Libc.O_CREAT : 0), NewFileMode);
        try
        {
            Descriptors.Require(file, address.Kind == StreamKind.Null ? FileKind.CharacterDevice : FileKind.Regular, address.Path);
            Fd.SetNonBlocking(file, false);
            return new OutputFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>No more will be written by the process itself. Never blocks, never throws.</summary>
    internal abstract void End();

    /// <summary>Looks again whether all is delivered, for the case that nobody could be asked to tell.</summary>
    internal abstract void Recheck();

    /// <summary>Closes our copy of the writing end.</summary>
    internal void ReleaseWriter() => Writer.Dispose();

    /// <inheritdoc/>
    public virtual void Dispose() => Writer.Dispose();

    /// <summary>A regular file or /dev/null: what is written is delivered.</summary>
    private sealed class OutputFile(SafeFileHandle writer) : OutputSink(writer)
    {
        internal override bool CanWait => false;

        internal override Task Delivered => Task.CompletedTask;

        internal override void End()
        {
        }

        internal override void Recheck()
        {
        }
    }
}
