using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using ShimContract = Containerd.Shim.V1;

namespace Supervisor.Events;

/// <summary>Events and exits between the three forms that they have: the shim's, the log's, the public API's.</summary>
internal static class EventTranslation
{
    /// <summary>An event of a shim, ready for the log.</summary>
    internal static EventRecord ToRecord(this ShimContract.Event message, string containerId) => new()
    {
        Type = ToPublicType(message.Type),
        ContainerId = containerId,
        Pid = message.Pid,
        Init = message.Init,
        Time = ToDateTime(message.Time),
        Exit = message.Exit?.ToRecord() ?? (message.Type == ShimContract.EventType.Exit ? BareExit(message) : null),
        ShimSequence = message.Sequence,
    };

    /// <summary>An event of the log for a client.</summary>
    internal static Event ToMessage(this EventRecord record) => new()
    {
        Sequence = record.Sequence,
        Time = ToTimestamp(record.Time),
        Type = record.Type,
        ContainerId = record.ContainerId,
        Pid = record.Pid,
        Init = record.Init,
        Exit = record.Exit?.ToMessage(),
    };

    /// <summary>An exit for the log.</summary>
    internal static ExitRecord ToRecord(this Exit exit) => new()
    {
        Status = exit.Status,
        Signal = exit.Signal,
        CoreDumped = exit.CoreDumped,
        Reason = exit.Reason,
        Message = exit.Message,
        Time = ToDateTime(exit.Time),
        UserCpuUs = exit.UserCpuUs,
        SystemCpuUs = exit.SystemCpuUs,
        MaxRssKib = exit.MaxRssKib,
    };

    /// <summary>An exit for a client.</summary>
    internal static Exit ToMessage(this ExitRecord exit) => new()
    {
        Status = exit.Status,
        Signal = exit.Signal,
        CoreDumped = exit.CoreDumped,
        Reason = exit.Reason,
        Message = exit.Message,
        Time = ToTimestamp(exit.Time),
        UserCpuUs = exit.UserCpuUs,
        SystemCpuUs = exit.SystemCpuUs,
        MaxRssKib = exit.MaxRssKib,
    };

    /// <summary>A time of the log for a client; null when it is not known.</summary>
    internal static Timestamp? ToTimestamp(DateTime time) =>
        time == default ? null : Timestamp.FromDateTime(DateTime.SpecifyKind(time, DateTimeKind.Utc));

    private static DateTime ToDateTime(Timestamp? time) => time?.ToDateTime() ?? DateTime.UtcNow;

    private static ExitRecord BareExit(ShimContract.Event message) => new()
    {
        Status = message.ExitStatus,
        Signal = message.ExitStatus > 128 ? message.ExitStatus - 128 : 0,
        Reason = message.ExitStatus > 128 ? ExitReason.Signaled : ExitReason.Exited,
        Time = ToDateTime(message.Time),
    };

    /// <summary>The public name of a kind of event.</summary>
    internal static EventType ToPublicType(ShimContract.EventType type) => type switch
    {
        ShimContract.EventType.Create => EventType.Created,
        ShimContract.EventType.ExecAdded => EventType.ExecAdded,
        ShimContract.EventType.Start => EventType.Started,
        ShimContract.EventType.Exit => EventType.Exited,
        ShimContract.EventType.Oom => EventType.Oom,
        ShimContract.EventType.Pause => EventType.Paused,
        ShimContract.EventType.Resume => EventType.Resumed,
        ShimContract.EventType.Update => EventType.Updated,
        ShimContract.EventType.Delete => EventType.Deleted,
        _ => EventType.Unspecified,
    };
}
