using System.Diagnostics.CodeAnalysis;
using Containerd;

namespace Shim.Transport.Http2;

/// <summary>
/// How many large requests may lie in memory at once. Small ones, which nearly all are, never come here. A large one takes a place before more of it is read
/// than fits into its window, keeps it until it is answered, and otherwise waits; only a crowd that no honest client makes is refused.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore without a wait handle holds nothing that needs disposal.")]
internal sealed class LargeRequests
{
    /// <summary>What is large: more than the window that every stream begins with.</summary>
    internal const int Above = 65535;

    // On its way to the runtime it costs several times its 4 MiB, which is a good part of the heap's 64 MB.
    private const int Places = 1;
    private const int MaxWaiting = 256;

    // What large requests have left counts against the heap's limit until it is collected, and the collector is in no hurry with arrays of that size: it
    // has met the limit before (seen with 60 requests of 4 MB, one after the other).
    private const long CollectAbove = 16 * 1024 * 1024;

    private readonly SemaphoreSlim _places = new(Places);
    private int _waiting;

    /// <summary>Waits for a place, which is to be left again. Exhausted when too many wait already.</summary>
    internal async Task EnterAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _waiting) > MaxWaiting)
        {
            Interlocked.Decrement(ref _waiting);
            throw new TaskException(ErrorKind.Exhausted, $"too many large requests at once: {MaxWaiting} wait already");
        }

        try
        {
            await _places.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (GC.GetTotalMemory(forceFullCollection: false) > CollectAbove)
            {
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            }
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    /// <summary>Lets the next one in.</summary>
    internal void Leave() => _places.Release();
}
