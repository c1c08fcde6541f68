using System.Collections.Concurrent;
using Containerd;

namespace Supervisor.Containers;

/// <summary>All ids that are in use: containers that are being created, are there, or are being removed.</summary>
internal sealed class ContainerRegistry
{
    private readonly ConcurrentDictionary<string, Container> _containers = new(StringComparer.Ordinal);

    /// <summary>The containers that clients may see, by id.</summary>
    internal IEnumerable<Container> Present =>
        _containers.Select(pair => pair.Value).Where(container => container.IsPresent).OrderBy(container => container.Id, StringComparer.Ordinal);

    /// <summary>Takes the id, or throws AlreadyExists.</summary>
    internal void Add(Container container)
    {
        if (!_containers.TryAdd(container.Id, container))
        {
            throw TaskException.AlreadyExists($"container {container.Id} already exists");
        }
    }

    /// <summary>Frees the id.</summary>
    internal void Remove(Container container) => _containers.TryRemove(KeyValuePair.Create(container.Id, container));

    /// <summary>The container that clients know by <paramref name="id"/>, or NotFound. A malformed id is InvalidArgument.</summary>
    internal Container Get(string id)
    {
        ContainerId.Check(id);
        return _containers.TryGetValue(id, out var container) && container.IsPresent
            ? container
            : throw TaskException.NotFound($"no such container: {id}");
    }

    /// <summary>Like <see cref="Get"/>, but also finds a container that is just being removed, so that a second caller can join.</summary>
    internal Container GetForDeletion(string id)
    {
        ContainerId.Check(id);
        return _containers.TryGetValue(id, out var container) && container.IsCommitted
            ? container
            : throw TaskException.NotFound($"no such container: {id}");
    }
}
