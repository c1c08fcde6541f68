using System.Text.Json.Serialization;

namespace Supervisor.Containers;

/// <summary>
/// container.json: what a successor of this supervisor must know of a container and cannot learn elsewhere. What happens to the
/// container is not here but in the events.
/// </summary>
internal sealed record ContainerRecord
{
    [JsonPropertyName("id")]
    public required string Id { get; init; }

    [JsonPropertyName("bundle")]
    public required string Bundle { get; init; }

    [JsonPropertyName("owners")]
    public IReadOnlyList<string> Owners { get; init; } = [];

    [JsonPropertyName("terminal")]
    public bool Terminal { get; init; }

    [JsonPropertyName("stdin")]
    public string Stdin { get; init; } = "";

    [JsonPropertyName("stdout")]
    public string Stdout { get; init; } = "";

    [JsonPropertyName("stderr")]
    public string Stderr { get; init; } = "";

    [JsonPropertyName("runtime")]
    public required string Runtime { get; init; }

    [JsonPropertyName("runtimeRoot")]
    public required string RuntimeRoot { get; init; }

    /// <summary>When the shim is lost a new one takes the container over; otherwise the container is killed.</summary>
    [JsonPropertyName("adoptsLoss")]
    public bool AdoptsLoss { get; init; }

    [JsonPropertyName("createdAt")]
    public DateTime CreatedAt { get; init; }

    /// <summary>Pid of the shim, 0 before it was spawned. With the start time it identifies one process for ever.</summary>
    [JsonPropertyName("shimPid")]
    public int ShimPid { get; init; }

    /// <summary>When the shim started, in clock ticks since boot.</summary>
    [JsonPropertyName("shimStartTime")]
    public ulong ShimStartTime { get; init; }

    /// <summary>Host pid of the init process, 0 until it is created.</summary>
    [JsonPropertyName("initPid")]
    public int InitPid { get; init; }

    /// <summary>When init started, in clock ticks since boot.</summary>
    [JsonPropertyName("initStartTime")]
    public ulong InitStartTime { get; init; }

    /// <summary>
    /// Directories of the container's cgroup, as far as its creation was to make them: what was there before is not ours to remove.
    /// </summary>
    [JsonPropertyName("cgroups")]
    public IReadOnlyList<string> Cgroups { get; init; } = [];

    /// <summary>Somebody wants it gone. What was begun is finished, by whichever supervisor.</summary>
    [JsonPropertyName("deleting")]
    public bool Deleting { get; init; }

    /// <summary>
    /// False until the container has been created completely. Who finds it false knows that no client was ever told of this
    /// container, and undoes it.
    /// </summary>
    [JsonPropertyName("complete")]
    public bool Complete { get; init; }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(ContainerRecord))]
internal sealed partial class ContainerJson : JsonSerializerContext;
