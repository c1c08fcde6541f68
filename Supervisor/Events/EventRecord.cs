using System.Text.Json.Serialization;
using Containerd.V1;

namespace Supervisor.Events;

/// <summary>One event as the log keeps it. A line of JSON; the sequence comes first, so that readers can skip without parsing.</summary>
internal sealed record EventRecord
{
    /// <summary>Position in the supervisor's one stream; given by the log.</summary>
    [JsonPropertyName("n"), JsonPropertyOrder(-1)]
    public ulong Sequence { get; init; }

    [JsonPropertyName("type")]
    public required EventType Type { get; init; }

    [JsonPropertyName("id")]
    public required string ContainerId { get; init; }

    [JsonPropertyName("pid")]
    public uint Pid { get; init; }

    [JsonPropertyName("init")]
    public bool Init { get; init; }

    [JsonPropertyName("time")]
    public DateTime Time { get; init; }

    [JsonPropertyName("exit")]
    public ExitRecord? Exit { get; init; }

    /// <summary>The number that the container's shim gave this event; 0 for an event that the supervisor made itself.</summary>
    [JsonPropertyName("shim")]
    public ulong ShimSequence { get; init; }
}

/// <summary>How a process ended, as the log keeps it.</summary>
internal sealed record ExitRecord
{
    [JsonPropertyName("status")]
    public uint Status { get; init; }

    [JsonPropertyName("signal")]
    public uint Signal { get; init; }

    [JsonPropertyName("core")]
    public bool CoreDumped { get; init; }

    [JsonPropertyName("reason")]
    public ExitReason Reason { get; init; }

    [JsonPropertyName("message")]
    public string Message { get; init; } = "";

    [JsonPropertyName("time")]
    public DateTime Time { get; init; }

    [JsonPropertyName("userUs")]
    public ulong UserCpuUs { get; init; }

    [JsonPropertyName("systemUs")]
    public ulong SystemCpuUs { get; init; }

    [JsonPropertyName("maxRssKib")]
    public ulong MaxRssKib { get; init; }
}

/// <summary>The first line of every segment: what all earlier segments add up to, so that they can be thrown away.</summary>
internal sealed record EventCheckpoint
{
    [JsonPropertyName("containers")]
    public required Dictionary<string, ContainerTrack> Containers { get; init; }
}

[JsonSourceGenerationOptions(UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(EventRecord))]
[JsonSerializable(typeof(EventCheckpoint))]
internal sealed partial class EventJson : JsonSerializerContext;
