using Containerd;

namespace Shim.Tasks;

/// <summary>
/// The containers of this shim: one under a supervisor; under containerd also those of a pod. Each is being made, is there, or has been deleted.
/// </summary>
/// <param name="services">What the only container stands on; null when there may be many, each of which brings its own.</param>
internal sealed class TaskService(ShimServices? services = null)
{
    private readonly Lock _lock = new();

    // Guarded by _lock.
    private readonly Dictionary<string, Task> _creating = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Container> _containers = new(StringComparer.Ordinal);
    private bool _closed;

    /// <summary>What the only container stands on.</summary>
    internal ShimServices Services => services ?? throw new InvalidOperationException("the containers of this shim have services of their own");

    /// <summary>All containers that are there.</summary>
    internal IReadOnlyList<Container> All
    {
        get
        {
            lock (_lock)
            {
                return All_NeedsLock();
            }
        }
    }

    /// <summary>The only container, or null before its creation and after its deletion.</summary>
    internal Container? Current => All is [var container, ..] ? container : null;

    /// <summary>The only container; NotFound when there is none.</summary>
    internal Container Container => Current ?? throw TaskException.NotFound("this shim has no container");

    /// <summary>The container of that id; NotFound when there is none.</summary>
    internal Container Get(string id) => Find(id) ?? throw TaskException.NotFound($"container {id}: not found");

    /// <summary>The container of that id, or null.</summary>
    internal Container? Find(string id)
    {
        lock (_lock)
        {
            return _containers.GetValueOrDefault(id) is { State: not InitState.Deleted } container ? container : null;
        }
    }

    /// <summary>Makes a container. A caller that gives up does not undo it half-way; it ends made or not at all.</summary>
    internal Task<Container> CreateAsync(CreateSpec spec) => CreateAsync(Services, spec);

    /// <summary>As above, for one of many, which has a state directory and a journal of its own.</summary>
    internal Task<Container> CreateAsync(ShimServices own, CreateSpec spec) => MakeAsync(spec.Id, () => Container.CreateAsync(own, spec));

    /// <summary>Takes over the container that the journal tells of, instead of making one.</summary>
    internal Task<Container> AdoptAsync(string id, string bundle, string runtime) =>
        MakeAsync(id, () => Container.AdoptAsync(Services, id, bundle, runtime));

    /// <summary>
    /// From now on no container can be made. Refuses while there is one: a shim that ends leaves its processes without a parent.
    /// </summary>
    internal void Close()
    {
        lock (_lock)
        {
            if (_creating.Count > 0 || All_NeedsLock().Count > 0)
            {
                throw TaskException.Precondition($"this shim still has container {All_NeedsLock().FirstOrDefault()?.Id ?? _creating.Keys.First()}: delete it first");
            }

            _closed = true;
        }
    }

    /// <summary>
    /// From now on no container can be made. Those that are there, once all creations (which the runtime's deadlines bound) are over.
    /// </summary>
    internal async Task<IReadOnlyList<Container>> CloseAndTakeAsync()
    {
        List<Task> creations;
        lock (_lock)
        {
            _closed = true;
            creations = [.. _creating.Values];
        }

        await Task.WhenAll(creations).ConfigureAwait(false);
        return All;
    }

    private async Task<Container> MakeAsync(string id, Func<Task<Container>> make)
    {
        var over = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            if (_closed)
            {
                throw TaskException.Unavailable("this shim is about to end");
            }

            var here = All_NeedsLock();
            if (services is not null ? _creating.Count > 0 || here.Count > 0 : _creating.ContainsKey(id) || here.Any(container => container.Id == id))
            {
                throw TaskException.AlreadyExists($"this shim already has container {(services is not null && here.Count > 0 ? here[0].Id : id)}");
            }

            _creating.Add(id, over.Task);
        }

        try
        {
            var container = await make().ConfigureAwait(false);
            lock (_lock)
            {
                _containers[id] = container;
            }

            return container;
        }
        finally
        {
            lock (_lock)
            {
                _creating.Remove(id);
            }

            over.SetResult();
        }
    }

    private List<Container> All_NeedsLock()
    {
        foreach (var (id, container) in _containers)
        {
            if (container.State is InitState.Deleted)
            {
                _containers.Remove(id);
            }
        }

        return [.. _containers.Values];
    }
}
