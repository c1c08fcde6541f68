using System.Text.Json.Serialization;
using Containerd.V1;

namespace Supervisor.Events;

/// <summary>What a container's events so far add up to. Immutable: readers may hold one as long as they like.</summary>
internal sealed record ContainerTrack
{
    /// <summary>The shim's number of the last event that was recorded: where to resume its stream.</summary>
    [JsonPropertyName("shim")]
    public ulong ShimSequence { get; init; }

    [JsonPropertyName("status")]
    public Status Status { get; init; }

    [JsonPropertyName("pid")]
    public uint InitPid { get; init; }

    [JsonPropertyName("created")]
    public DateTime CreatedAt { get; init; }

    /// <summary>How init ended, once it has.</summary>
    [JsonPropertyName("exit")]
    public ExitRecord? Exit { get; init; }

    /// <summary>Exec processes that have started and not ended: each is owed an exit event, also when the shim is lost.</summary>
    [JsonPropertyName("execs")]
    public uint[] RunningExecs { get; init; } = [];

    /// <summary>Exec processes that were added and whose start was not told yet.</summary>
    [JsonPropertyName("added")]
    public uint[] AddedExecs { get; init; } = [];

    /// <summary>All execs that have not ended.</summary>
    [JsonIgnore]
    internal IEnumerable<uint> AllExecs => AddedExecs.Concat(RunningExecs);

    /// <summary>
    /// What is known after <paramref name="record"/>; null when nothing is to be known: not created yet, or deleted. An event that
    /// can't change the state any more (a late pause, say) still moves the sequence on.
    /// </summary>
    internal static ContainerTrack? Apply(ContainerTrack? before, EventRecord record)
    {
        if (record.Type == EventType.Created)
        {
            return new ContainerTrack
            {
                ShimSequence = record.ShimSequence,
                Status = Status.Created,
                InitPid = record.Pid,
                CreatedAt = record.Time,
            };
        }

        if (before is null || (record.Type == EventType.Deleted && record.Init))
        {
            return null;
        }

        var after = before with { ShimSequence = Math.Max(before.ShimSequence, record.ShimSequence) };
        var ended = before.Status == Status.Stopped;
        return (record.Type, record.Init) switch
        {
            (EventType.Exited, true) => after with { Status = Status.Stopped, Exit = before.Exit ?? record.Exit },
            (EventType.Exited, false) => after with { RunningExecs = [.. before.RunningExecs.Where(pid => pid != record.Pid)] },
            (EventType.ExecAdded, _) => after with { AddedExecs = [.. before.AddedExecs, record.Pid] },
            (EventType.Started, true) when !ended => after with { Status = Status.Running },
            (EventType.Started, false) => after with
            {
                AddedExecs = [.. before.AddedExecs.Where(pid => pid != record.Pid)],
                RunningExecs = [.. before.RunningExecs, record.Pid],
            },
            (EventType.Paused, _) when !ended => after with { Status = Status.Paused },
            (EventType.Resumed, _) when !ended => after with { Status = Status.Running },
            _ => after,
        };
    }
}
