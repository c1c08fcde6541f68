using Containerd;

namespace Shim.Tasks;

/// <summary>The one container of this shim: there is none, it is being made, or it is there.</summary>
internal sealed class TaskService(ShimServices services)
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _creating;
    private bool _closed;
    private Container? _container;

    /// <summary>What the container stands on.</summary>
    internal ShimServices Services { get; } = services;

    /// <summary>The container, or null before its creation and after its deletion.</summary>
    internal Container? Current
    {
        get
        {
            lock (_lock)
            {
                return _container is { State: not InitState.Deleted } ? _container : null;
            }
        }
    }

    /// <summary>The container; NotFound when there is none.</summary>
    internal Container Container => Current ?? throw TaskException.NotFound("this shim has no container");

    /// <summary>Makes the container. A caller that gives up does not undo it half-way; it ends made or not at all.</summary>
    internal Task<Container> CreateAsync(CreateSpec spec) => MakeAsync(spec.Id, () => Container.CreateAsync(Services, spec));

    /// <summary>Takes over the container that the journal tells of, instead of making one.</summary>
    internal Task<Container> AdoptAsync(string id, string bundle, string runtime) =>
        MakeAsync(id, () => Container.AdoptAsync(Services, id, bundle, runtime));

    private async Task<Container> MakeAsync(string id, Func<Task<Container>> make)
    {
        lock (_lock)
        {
            if (_closed)
            {
                throw TaskException.Unavailable("this shim is about to end");
            }

            if (_creating is not null || Current is not null)
            {
                throw TaskException.AlreadyExists($"this shim already has container {Current?.Id ?? id}");
            }

            _creating = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        try
        {
            var container = await make().ConfigureAwait(false);
            lock (_lock)
            {
                _container = container;
            }

            return container;
        }
        finally
        {
            lock (_lock)
            {
                _creating.SetResult();
                _creating = null;
            }
        }
    }

    /// <summary>
    /// From now on no container can be made. Refuses while there is one: a shim that ends leaves its processes without a parent.
    /// </summary>
    internal void Close()
    {
        lock (_lock)
        {
            if (_creating is not null || Current is not null)
            {
                throw TaskException.Precondition($"this shim still has container {Current?.Id}: delete it first");
            }

            _closed = true;
        }
    }

    /// <summary>From now on no container can be made. The one that is there, once its creation (which the runtime's deadlines bound) is over.</summary>
    internal async Task<Container?> CloseAndTakeAsync()
    {
        Task? creation;
        lock (_lock)
        {
            _closed = true;
            creation = _creating?.Task;
        }

        if (creation is not null)
        {
            await creation.ConfigureAwait(false);
        }

        return Current;
    }
}
