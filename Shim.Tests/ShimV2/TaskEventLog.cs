using System.Globalization;
using Containerd.Events;
using Containerd.Types;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Transport.ShimV2;

namespace Shim.Tests.ShimV2;

/// <summary>One event of containerd's, as a test looks at it.</summary>
/// <param name="Topic">Such as /tasks/exit.</param>
/// <param name="Container">The container's id.</param>
/// <param name="Exec">The id of the process; empty for the init.</param>
/// <param name="Pid">The process's pid, where the event has one.</param>
/// <param name="Status">The exit status, where the event has one.</param>
internal sealed record SeenEvent(string Topic, string Container, string Exec, uint Pid, uint Status)
{
    /// <summary>Where a checkpoint lies, where the event says it.</summary>
    internal string Path { get; init; } = "";

    /// <summary>Topic, exec and status, such as <c>exit e1 5</c>.</summary>
    internal string Brief
    {
        get
        {
            var name = Topic["/tasks/".Length..];
            return string.Join(' ', ((string[])[name, Exec, name is "exit" or "delete" ? Status.ToString(CultureInfo.InvariantCulture) : ""]).Where(part => part.Length > 0));
        }
    }

    /// <summary>Understands an event about a task; null for all others.</summary>
    internal static SeenEvent? From(Envelope envelope)
    {
        var bytes = envelope.Event.Value;
        return TaskMessages.TypeName(envelope.Event.TypeUrl) switch
        {
            "containerd.events.TaskCreate" => Of(TaskCreate.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, "", e.Pid, 0u) : default) with { Path = TaskCreate.Parser.ParseFrom(bytes).Checkpoint },
            "containerd.events.TaskStart" => Of(TaskStart.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, "", e.Pid, 0u) : default),
            "containerd.events.TaskDelete" => Of(TaskDelete.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, "", e.Pid, e.ExitStatus) : default),
            "containerd.events.TaskExit" => Of(
                TaskExit.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, e.Id == e.ContainerId ? "" : e.Id, e.Pid, e.ExitStatus) : default),
            "containerd.events.TaskOOM" => Of((TaskOOM.Parser.ParseFrom(bytes).ContainerId, "", 0, 0)),
            "containerd.events.TaskExecAdded" => Of(TaskExecAdded.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, e.ExecId, 0u, 0u) : default),
            "containerd.events.TaskExecStarted" => Of(TaskExecStarted.Parser.ParseFrom(bytes) is var e ? (e.ContainerId, e.ExecId, e.Pid, 0u) : default),
            "containerd.events.TaskPaused" => Of((TaskPaused.Parser.ParseFrom(bytes).ContainerId, "", 0, 0)),
            "containerd.events.TaskResumed" => Of((TaskResumed.Parser.ParseFrom(bytes).ContainerId, "", 0, 0)),
            "containerd.events.TaskCheckpointed" => Of((TaskCheckpointed.Parser.ParseFrom(bytes).ContainerId, "", 0, 0)) with { Path = TaskCheckpointed.Parser.ParseFrom(bytes).Checkpoint },
            _ => null,
        };

        SeenEvent Of((string Container, string Exec, uint Pid, uint Status) what) => new(envelope.Topic, what.Container, what.Exec, what.Pid, what.Status);
    }
}

/// <summary>Events as they come, for tests to wait for.</summary>
internal sealed class TaskEventLog
{
    private readonly Lock _lock = new();
    private readonly List<SeenEvent> _seen = [];

    /// <summary>Everything so far.</summary>
    internal IReadOnlyList<SeenEvent> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _seen];
            }
        }
    }

    internal void Add(Envelope envelope)
    {
        if (SeenEvent.From(envelope) is { } seen)
        {
            lock (_lock)
            {
                _seen.Add(seen);
            }
        }
    }

    /// <summary>What was told of one container, briefly.</summary>
    internal IReadOnlyList<string> Of(string container) => [.. All.Where(seen => seen.Container == container).Select(seen => seen.Brief)];

    /// <summary>Waits until exactly these events of a container have come, in this order.</summary>
    internal async Task ExpectAsync(string container, params string[] briefs)
    {
        _ = await Poll.For(() => Of(container), seen => seen.Count >= briefs.Length, Poll.Deadline, $"{briefs.Length} events of {container}");
        Assert.That(Of(container), Is.EqualTo(briefs));
    }
}
