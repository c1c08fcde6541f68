using Containerd.Shim.V1;
using Google.Protobuf.WellKnownTypes;
using Shim.Cgroups;
using Shim.Runtime;
using Shim.Stdio;
using Shim.Tasks;
using V1 = Containerd.V1;

namespace Shim.Transport.Grpc;

/// <summary>
/// The domain's words in the wire's words, and back. Clients of 2017 send paths relative to the directory that they share with the shim;
/// the domain knows absolute ones only, so they are completed here.
/// </summary>
internal static class Messages
{
    internal static CreateSpec ToSpec(CreateRequest request) => new(
        request.Id,
        Absolute(request.Bundle),
        request.Runtime,
        request.NoPivot,
        new StreamAddresses(Absolute(request.Stdin), Absolute(request.Stdout), Absolute(request.Stderr), request.Terminal));

    internal static ExecSpec ToSpec(ExecRequest request) => new()
    {
        Args = request.Args,
        Env = request.Env,
        Cwd = request.Cwd,
        User = request.User is { } user ? new ExecUser(user.Uid, user.Gid, user.AdditionalGids) : null,
        Capabilities = request.Capabilities,
        Rlimits = [.. request.Rlimits.Select(limit => new ExecRlimit(limit.Type, limit.Hard, limit.Soft))],
        NoNewPrivileges = request.NoNewPrivileges,
        SelinuxLabel = request.SelinuxLabel,
        ApparmorProfile = request.ApparmorProfile,
        Terminal = request.Terminal,
    };

    internal static StreamAddresses ToAddresses(ExecRequest request) =>
        new(Absolute(request.Stdin), Absolute(request.Stdout), Absolute(request.Stderr), request.Terminal);

    internal static Event ToMessage(TaskEvent what) => new()
    {
        Id = what.ContainerId,
        Type = what.Type switch
        {
            TaskEventType.Create => EventType.Create,
            TaskEventType.ExecAdded => EventType.ExecAdded,
            TaskEventType.Start => EventType.Start,
            TaskEventType.Exit => EventType.Exit,
            TaskEventType.Oom => EventType.Oom,
            TaskEventType.Pause => EventType.Pause,
            TaskEventType.Resume => EventType.Resume,
            TaskEventType.Update => EventType.Update,
            _ => EventType.Delete,
        },
        Pid = (uint)what.Pid,
        ExitStatus = (uint)(what.Exit?.Status.Code ?? 0),
        Sequence = (ulong)what.Sequence,
        Time = Timestamp.FromDateTimeOffset(what.Time),
        Init = what.Init,
        Exit = what.Exit is { } exit ? ToMessage(exit) : null,
    };

    internal static V1.Exit ToMessage(ExitRecord exit) => new()
    {
        Status = (uint)exit.Status.Code,
        Signal = (uint)exit.Status.Signal,
        CoreDumped = exit.Status.CoreDumped,
        Reason = exit.Reason switch
        {
            ExitReason.Exited => V1.ExitReason.Exited,
            ExitReason.Signaled => V1.ExitReason.Signaled,
            ExitReason.OomKilled => V1.ExitReason.OomKilled,
            ExitReason.RuntimeError => V1.ExitReason.RuntimeError,
            ExitReason.ShimLost => V1.ExitReason.ShimLost,
            _ => V1.ExitReason.Unknown,
        },
        Message = exit.Message,
        Time = Timestamp.FromDateTimeOffset(exit.Time),
        UserCpuUs = exit.Usage.UserMicroseconds,
        SystemCpuUs = exit.Usage.SystemMicroseconds,
        MaxRssKib = exit.Usage.MaxRssKib,
    };

    internal static V1.ProcessDetails ToMessage(ProcessView process) => new()
    {
        Pid = (uint)process.Pid,
        Init = process.IsInit,
        Managed = process.Managed,
        Status = ToStatus(process.State),
        Args = { process.Spec.Args },
        Env = { process.Spec.Env },
        Cwd = process.Spec.Cwd,
        User = new V1.User { Uid = process.Spec.Uid, Gid = process.Spec.Gid, AdditionalGids = { process.Spec.AdditionalGids } },
        Terminal = process.Spec.Terminal,
        Exit = process.Exit is { } exit ? ToMessage(exit) : null,
        CreatedAt = process.CreatedAt is { } created ? Timestamp.FromDateTimeOffset(created) : null,
        StartedAt = process.StartedAt is { } started ? Timestamp.FromDateTimeOffset(started) : null,
    };

    internal static State ToState(InitState state) => state switch
    {
        InitState.Created or InitState.Restorable => State.Created,
        InitState.Running => State.Running,
        InitState.Paused => State.Paused,
        _ => State.Stopped,
    };

    internal static V1.Stats ToMessage(ContainerStats stats) => new()
    {
        Time = Timestamp.FromDateTimeOffset(stats.Time),
        CgroupVersion = (uint)stats.CgroupVersion,
        Cpu = new V1.CpuStats
        {
            UsageNs = stats.Cpu.UsageNs,
            UserNs = stats.Cpu.UserNs,
            SystemNs = stats.Cpu.SystemNs,
            Periods = stats.Cpu.Periods,
            ThrottledPeriods = stats.Cpu.ThrottledPeriods,
            ThrottledNs = stats.Cpu.ThrottledNs,
        },
        Memory = new V1.MemoryStats
        {
            UsageBytes = stats.Memory.UsageBytes,
            LimitBytes = stats.Memory.LimitBytes,
            PeakBytes = stats.Memory.PeakBytes,
            AnonymousBytes = stats.Memory.AnonymousBytes,
            FileBytes = stats.Memory.FileBytes,
            SwapBytes = stats.Memory.SwapBytes,
            OomKills = stats.Memory.OomKills,
        },
        Pids = new V1.PidsStats { Current = stats.Pids.Current, Limit = stats.Pids.Limit },
        BlockIo = new V1.BlockIoStats
        {
            ReadBytes = stats.BlockIo.ReadBytes,
            WriteBytes = stats.BlockIo.WriteBytes,
            ReadOperations = stats.BlockIo.ReadOperations,
            WriteOperations = stats.BlockIo.WriteOperations,
        },
    };

    private static string Absolute(string path) =>
        path.Length == 0 || path.Contains("://", StringComparison.Ordinal) || path.Contains('\0') ? path : Path.GetFullPath(path);

    private static V1.Status ToStatus(InitState state) => state switch
    {
        InitState.Created or InitState.Restorable => V1.Status.Created,
        InitState.Running => V1.Status.Running,
        InitState.Paused => V1.Status.Paused,
        _ => V1.Status.Stopped,
    };
}
