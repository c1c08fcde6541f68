using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Stdio;

/// <summary>Where a process writes to.</summary>
internal abstract class OutputSink : IDisposable
{
    /// <param name="writer">See <see cref="Writer"/>.</param>
    protected OutputSink(SafeFileHandle writer) => Writer = writer;

    /// <summary>The writing end: the process's own stdout or stderr, or what a terminal relay writes to.</summary>
    internal SafeFileHandle Writer { get; }

    /// <summary>Whether writes have to be waited for (a FIFO), rather than being done at once.</summary>
    internal abstract bool CanWait { get; }

    /// <summary>Completes after <see cref="End"/>, when closing what we hold can no longer lose a byte.</summary>
    internal abstract Task Delivered { get; }

    /// <summary>The clients that have attached themselves; null where the bytes do not pass through here.</summary>
    internal virtual AttachedOutputs? Attached => null;

    /// <summary>Whether what the process gets was made here.</summary>
    internal virtual bool IsOurs => false;

    /// <summary>What the kernel calls the pipe that is read here; empty where the bytes do not pass through here.</summary>
    internal virtual string PipeName => "";

    /// <summary>Opens the address of a FIFO, a file or nothing for writing.</summary>
    /// <param name="address">What to open.</param>
    /// <param name="blocking">Whether <see cref="Writer"/> blocks: yes for a process, no for a relay. Opening it never does.</param>
    /// <param name="services">Where files may be, and what watches for readers if need be.</param>
    internal static OutputSink Open(StreamAddress address, bool blocking, StreamServices services)
    {
        switch (address.Kind)
        {
            // A relay sees by itself that its reader leaves, and a process that is to get SIGPIPE does too.
            case StreamKind.Fifo when address.OnDisconnect == OnDisconnect.Hangup || (address.OnDisconnect == OnDisconnect.Discard && !blocking):
                return ClientFifo.Open(address, blocking);
            case StreamKind.Fifo:
                return OutputFifo.Open(address, blocking, services.Loop);
            case StreamKind.File:
                return new OutputFile(services.LogDirectories.OpenFile(address), isOurs: address.MayCreate);
            default:
                var file = Fd.Open(address.Path, Libc.O_WRONLY | Libc.O_NOCTTY);
                try
                {
                    Descriptors.Require(file, FileKind.CharacterDevice, address.Path);
                    return new OutputFile(file, isOurs: false);
                }
                catch
                {
                    file.Dispose();
                    throw;
                }
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
    private sealed class OutputFile(SafeFileHandle writer, bool isOurs) : OutputSink(writer)
    {
        internal override bool IsOurs => isOurs;

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
