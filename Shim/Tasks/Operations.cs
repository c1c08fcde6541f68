namespace Shim.Tasks;

/// <summary>What is under way right now, for the one who wonders why a shim does not answer.</summary>
internal sealed class Operations
{
    private readonly Lock _lock = new();
    private readonly List<Operation> _underWay = [];

    /// <summary>Notes that <paramref name="name"/> begins; disposing of the result notes its end.</summary>
    internal Operation Begin(string name)
    {
        var operation = new Operation(this, name);
        lock (_lock)
        {
            _underWay.Add(operation);
        }

        return operation;
    }

    /// <summary>The operations under way, oldest first.</summary>
    internal IReadOnlyList<Operation> Snapshot()
    {
        lock (_lock)
        {
            return [.. _underWay];
        }
    }

    /// <summary>One operation under way.</summary>
    internal sealed class Operation(Operations owner, string name) : IDisposable
    {
        internal string Name { get; } = name;

        internal DateTimeOffset Since { get; } = DateTimeOffset.UtcNow;

        internal TimeSpan Elapsed => DateTimeOffset.UtcNow - Since;

        /// <inheritdoc/>
        public void Dispose()
        {
            lock (owner._lock)
            {
                owner._underWay.Remove(this);
            }
        }
    }
}
