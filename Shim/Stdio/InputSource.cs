using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>Where a process reads from.</summary>
internal abstract class InputSource : IDisposable
{
    /// <param name="reader">See <see cref="Reader"/>.</param>
    protected InputSource(SafeFileHandle reader) => Reader = reader;

    /// <summary>The reading end: the process's own stdin, or what a terminal relay reads.</summary>
    internal SafeFileHandle Reader { get; }

    /// <summary>Whether reads have to be waited for (a FIFO), rather than being answered at once.</summary>
    internal abstract bool CanWait { get; }

    /// <summary>Opens a checked address for reading.</summary>
    /// <param name="address">What to open.</param>
    /// <param name="blocking">Whether <see cref="Reader"/> blocks: yes for a process, no for a relay. Opening it never does.</param>
    /// <param name="policy">When a FIFO ends.</param>
    /// <param name="loop">Watches the FIFO's writers if the policy needs it.</param>
    internal static InputSource Open(StreamAddress address, bool blocking, StdinPolicy policy, EventLoop loop)
    {
        if (address.Kind == StreamKind.Fifo)
        {
            return InputFifo.Open(address.Path, blocking, policy, loop);
        }

        var file = Fd.Open(address.Path, Libc.O_RDONLY | Libc.O_NOFOLLOW | Libc.O_NOCTTY | Libc.O_NONBLOCK);
        try
        {
            Descriptors.Require(file, address.Kind == StreamKind.Null ? FileKind.CharacterDevice : FileKind.Regular, address.Path);
            Fd.SetNonBlocking(file, false);
            return new InputFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Lets the reader see the end once everything has been read and all other writers have closed.</summary>
    internal abstract void End();

    /// <summary>
    /// From now until <see cref="Watch"/> nobody's leaving is the end: CRIU opens and closes a FIFO that it reads back as a writer does. A client who comes
    /// and leaves meanwhile has to say himself that it was the end.
    /// </summary>
    internal virtual void Unwatch()
    {
    }

    /// <summary>Undoes <see cref="Unwatch"/>.</summary>
    internal virtual void Watch()
    {
    }

    /// <summary>Closes our copy of the reading end.</summary>
    internal void ReleaseReader() => Reader.Dispose();

    /// <inheritdoc/>
    public virtual void Dispose() => Reader.Dispose();

    /// <summary>A regular file or /dev/null: it has an end of its own.</summary>
    private sealed class InputFile(SafeFileHandle reader) : InputSource(reader)
    {
        internal override bool CanWait => false;

        internal override void End()
        {
        }
    }
}
