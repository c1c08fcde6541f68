namespace Shim.Transport.Ttrpc;

/// <summary>One frame that came in. Who gets it owns the lease, if there is one.</summary>
/// <param name="Header">The header.</param>
/// <param name="Body">The data; without a lease it is only there until the next frame is read. Empty when the frame is oversized.</param>
/// <param name="Lease">The memory of a large body.</param>
internal readonly record struct Frame(FrameHeader Header, ReadOnlyMemory<byte> Body, MemoryLease? Lease)
{
    /// <summary>The data as an array that stays.</summary>
    internal byte[] Keep() =>
        Lease is not null && System.Runtime.InteropServices.MemoryMarshal.TryGetArray(Body, out var whole) && whole.Count == whole.Array!.Length
            ? whole.Array
            : Body.ToArray();
}
