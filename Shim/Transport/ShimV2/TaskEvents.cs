using Containerd.Events;
using Containerd.TaskApi.V2;
using Containerd.Types;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Tasks;

namespace Shim.Transport.ShimV2;

/// <summary>One container's events in containerd's words. Stateful: the event of a deletion repeats the exit.</summary>
/// <param name="nameSpace">containerd's namespace.</param>
/// <param name="request">What the container was made from.</param>
internal sealed class TaskEvents(string nameSpace, CreateTaskRequest request)
{
    private ExitRecord? _exit;

    /// <summary>What containerd is told of an event; null when it has no word for it.</summary>
    internal Envelope? ToEnvelope(TaskEvent what)
    {
        if (what is { Type: TaskEventType.Exit, Init: true })
        {
            _exit = what.Exit;
        }

        return ToMessage(what) is var (topic, name, message) ? new Envelope
        {
            Timestamp = Timestamp.FromDateTimeOffset(what.Time),
            Namespace = nameSpace,
            Topic = topic,
            Event = TaskMessages.Pack("containerd.events." + name, message),
        }
        : null;
    }

    private (string Topic, string Name, IMessage Message)? ToMessage(TaskEvent what) => what.Type switch
    {
        TaskEventType.Create => ("/tasks/create", nameof(TaskCreate), new TaskCreate
        {
            ContainerId = what.ContainerId,
            Bundle = request.Bundle,
            Rootfs = { request.Rootfs },
            Io = new TaskIO { Stdin = request.Stdin, Stdout = request.Stdout, Stderr = request.Stderr, Terminal = request.Terminal },
            Checkpoint = request.Checkpoint,
            Pid = (uint)what.Pid,
        }),
        TaskEventType.Start when what.Init => ("/tasks/start", nameof(TaskStart), new TaskStart { ContainerId = what.ContainerId, Pid = (uint)what.Pid }),
        TaskEventType.Start => ("/tasks/exec-started", nameof(TaskExecStarted), new TaskExecStarted { ContainerId = what.ContainerId, ExecId = what.ExecId, Pid = (uint)what.Pid }),
        TaskEventType.ExecAdded => ("/tasks/exec-added", nameof(TaskExecAdded), new TaskExecAdded { ContainerId = what.ContainerId, ExecId = what.ExecId }),
        TaskEventType.Exit => ("/tasks/exit", nameof(TaskExit), new TaskExit
        {
            ContainerId = what.ContainerId,
            Id = what.Init ? what.ContainerId : what.ExecId,
            Pid = (uint)what.Pid,
            ExitStatus = (uint)(what.Exit?.Status.Code ?? 0),
            ExitedAt = TaskMessages.ExitedAt(what.Exit),
        }),
        TaskEventType.Oom => ("/tasks/oom", nameof(TaskOOM), new TaskOOM { ContainerId = what.ContainerId }),
        TaskEventType.Pause => ("/tasks/paused", nameof(TaskPaused), new TaskPaused { ContainerId = what.ContainerId }),
        TaskEventType.Resume => ("/tasks/resumed", nameof(TaskResumed), new TaskResumed { ContainerId = what.ContainerId }),
        TaskEventType.Checkpoint => ("/tasks/checkpointed", nameof(TaskCheckpointed), new TaskCheckpointed { ContainerId = what.ContainerId, Checkpoint = what.Checkpoint }),
        TaskEventType.Delete when what.Init => ("/tasks/delete", nameof(TaskDelete), new TaskDelete
        {
            ContainerId = what.ContainerId,
            Pid = (uint)what.Pid,
            ExitStatus = (uint)(_exit?.Status.Code ?? 0),
            ExitedAt = TaskMessages.ExitedAt(_exit),
        }),
        _ => null,
    };
}
