using Containerd.V1;
using Shim.Interop;
using Shim.Processes;
using Supervisor.Events;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>
/// The exits that a lost shim owes. The truth where it is known: a process that ended by itself did so whether its shim was there or not. What nobody
/// can know is 255 with the reason unknown, never a guess.
/// </summary>
internal static class LostExits
{
    /// <summary>
    /// Publishes one exit for every process that has none: execs first, init last. An exec whose start was not told yet is started first: its
    /// shim was lost between the two events.
    /// </summary>
    internal static async Task PublishAsync(Container container, Orphan? init, IReadOnlyList<Orphan> execs)
    {
        if (container.Track is not { } track)
        {
            return;
        }

        foreach (var pid in track.AddedExecs)
        {
            container.Publish(Draft(container.Id, EventType.Started, pid, init: false));
        }

        var all = track.AllExecs.ToList();
        var ends = await Task.WhenAll(all.Select(pid => EndOfAsync(execs.FirstOrDefault(exec => exec.Pid == pid))));
        foreach (var (pid, exit) in all.Zip(ends))
        {
            container.Publish(Draft(container.Id, EventType.Exited, pid, init: false) with { Exit = exit });
        }

        if (track.Exit is null)
        {
            container.Publish(Draft(container.Id, EventType.Exited, track.InitPid, init: true) with { Exit = await EndOfAsync(init) });
        }
    }

    /// <summary>An event that the supervisor makes itself.</summary>
    internal static EventRecord Draft(string containerId, EventType type, uint pid, bool init) => new()
    {
        Type = type,
        ContainerId = containerId,
        Pid = pid,
        Init = init,
        Time = DateTime.UtcNow,
    };

    /// <summary>The exit of a process of which nobody knows how it ended.</summary>
    internal static ExitRecord Unknown(string message) => new()
    {
        Status = ExitStatus.UnknownCode,
        Reason = ExitReason.Unknown,
        Message = message,
        Time = DateTime.UtcNow,
    };

    private static async Task<ExitRecord> EndOfAsync(Orphan? orphan)
    {
        const string Unheard = "its shim was lost, and with it the exit status";
        if (orphan is null)
        {
            return Unknown(Unheard);
        }

        ExitStatus? status;
        try
        {
            status = await orphan.Ended.WaitAsync(Deadlines.Shutdown);
        }
        catch (TimeoutException)
        {
            return Unknown(Unheard);
        }

        return status switch
        {
            null or { Signal: Libc.SIGKILL } when !orphan.HadExited => new ExitRecord
            {
                Status = 128u + Libc.SIGKILL,
                Signal = Libc.SIGKILL,
                Reason = ExitReason.ShimLost,
                Message = "its shim was lost, and the process was killed for it",
                Time = DateTime.UtcNow,
            },
            null => Unknown(Unheard),
            { } known => new ExitRecord
            {
                Status = (uint)known.Code,
                Signal = (uint)known.Signal,
                CoreDumped = known.CoreDumped,
                Reason = known.Signal == 0 ? ExitReason.Exited : ExitReason.Signaled,
                Message = "its shim was lost; its parent collected the status",
                Time = DateTime.UtcNow,
            },
        };
    }
}
