using System.Diagnostics.CodeAnalysis;
using System.IO.Pipelines;
using Containerd;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;

namespace Shim.Transport.Grpc;

/// <summary>
/// How much of requests may lie in memory at once. Small ones, which nearly all are, never notice. A large one takes a place before more of it is
/// read than fits into its window, keeps it until it is answered, and otherwise waits; only a crowd that no honest client makes is refused.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore without a wait handle holds nothing that needs disposal.")]
internal sealed class RequestBudget
{
    // On its way to the runtime it costs several times its 4 MiB, which is a good part of the heap's 64 MB.
    private const int Places = 1;
    private const int MaxWaiting = 256;

    /// <summary>Per stream, and what is a large request. The smallest window that HTTP/2 knows.</summary>
    internal const int WindowBytes = 64 * 1024;

    /// <summary>Per connection: those that wait must not use up the window of those that are read.</summary>
    internal const int ConnectionWindowBytes = MaxWaiting * WindowBytes;

    // What large requests have left counts against the heap's limit until it is collected, and the collector is in no hurry with arrays of that size: it
    // has met the limit before (seen with 60 requests of 4 MB, one after the other).
    private const long CollectAbove = 16 * 1024 * 1024;

    private readonly SemaphoreSlim _places = new(Places);
    private int _waiting;

    /// <summary>Puts a reader that asks here in front of the request's own. To be disposed of when the request is answered.</summary>
    internal IDisposable Apply(IFeatureCollection features, PipeReader body)
    {
        var reader = new Reader(this, body);
        features.Set<IRequestBodyPipeFeature>(reader);
        return reader;
    }

    private async ValueTask EnterAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Increment(ref _waiting) > MaxWaiting)
        {
            Interlocked.Decrement(ref _waiting);
            throw new RpcException(new Status(
                ErrorKind.Exhausted.ToStatusCode(), $"too many large requests at once: {MaxWaiting} wait already"));
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

    private sealed class Reader(RequestBudget budget, PipeReader body) : PipeReader, IRequestBodyPipeFeature, IDisposable
    {
        private long _seen;
        private bool _hasPlace;

        PipeReader IRequestBodyPipeFeature.Reader => this;

        public override async ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
        {
            if (_seen >= WindowBytes && !_hasPlace)
            {
                await budget.EnterAsync(cancellationToken).ConfigureAwait(false);
                _hasPlace = true;
            }

            var result = await body.ReadAsync(cancellationToken).ConfigureAwait(false);
            _seen = result.Buffer.Length;
            return result;
        }

        public override bool TryRead(out ReadResult result)
        {
            if (!body.TryRead(out result))
            {
                return false;
            }

            _seen = result.Buffer.Length;
            return true;
        }

        public override void AdvanceTo(SequencePosition consumed) => body.AdvanceTo(consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => body.AdvanceTo(consumed, examined);

        public override void CancelPendingRead() => body.CancelPendingRead();

        public override void Complete(Exception? exception = null) => body.Complete(exception);

        public void Dispose()
        {
            if (_hasPlace)
            {
                _hasPlace = false;
                budget._places.Release();
            }
        }
    }
}
