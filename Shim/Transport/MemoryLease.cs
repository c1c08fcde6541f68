namespace Shim.Transport;

/// <summary>A part of a <see cref="MemoryBudget"/>; disposing of it gives it back, once.</summary>
internal sealed class MemoryLease(MemoryBudget budget, long bytes) : IDisposable
{
    private long _bytes = bytes;

    /// <summary>Gives back what is over <paramref name="bytes"/>. Not to be called side by side with itself.</summary>
    internal void ShrinkTo(long bytes)
    {
        var held = Interlocked.Read(ref _bytes);
        if (held > bytes && Interlocked.CompareExchange(ref _bytes, bytes, held) == held)
        {
            budget.GiveBack(held - bytes);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        var held = Interlocked.Exchange(ref _bytes, 0);
        if (held > 0)
        {
            budget.GiveBack(held);
        }
    }
}
