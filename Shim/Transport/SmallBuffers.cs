namespace Shim.Transport;

/// <summary>
/// Buffers of one size for frames that are read or written right now. Two are kept for the next; a connection on which nothing happens
/// holds none.
/// </summary>
internal static class SmallBuffers
{
    /// <summary>The size of each: most messages of a shim are shorter than a tenth of it.</summary>
    internal const int Size = 4096;

    private static byte[]? s_first;
    private static byte[]? s_second;

    /// <summary>A buffer with anything in it.</summary>
    internal static byte[] Rent() =>
        Interlocked.Exchange(ref s_first, null) ?? Interlocked.Exchange(ref s_second, null) ?? GC.AllocateUninitializedArray<byte>(Size);

    /// <summary>Keeps none: it has become quiet.</summary>
    internal static void Clear() => s_first = s_second = null;

    /// <summary>Gives a buffer back that nobody uses any more.</summary>
    internal static void Return(byte[] buffer)
    {
        if (Interlocked.CompareExchange(ref s_first, buffer, null) is not null)
        {
            Interlocked.CompareExchange(ref s_second, buffer, null);
        }
    }
}
