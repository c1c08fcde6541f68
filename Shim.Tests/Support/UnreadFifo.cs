using Microsoft.Win32.SafeHandles;
using Mono.Unix.Native;

namespace Shim.Tests.Support;

/// <summary>A FIFO that has a reader who does not read: a client that was stopped.</summary>
public sealed class UnreadFifo : IDisposable
{
    private readonly SafeFileHandle _handle;

    /// <summary>Makes the FIFO and opens it for reading.</summary>
    public UnreadFifo(string path)
    {
        Path = Fifo.Create(path);
        _handle = Fifo.Open(path, OpenFlags.O_RDONLY | OpenFlags.O_NONBLOCK);
    }

    /// <summary>The FIFO.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}
