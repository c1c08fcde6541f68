using System.Text;
using Containerd;
using Containerd.V1;
using Shim.Interop;
using Shim.Processes;
using Supervisor.Events;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>
/// How a container ends: by deletion, by the undoing of a creation that failed, or because its shim was lost. All three share the
/// same last steps, so that nothing is left behind whichever way it went, and every process gets exactly one exit event.
/// </summary>
internal sealed class Removal(
    ContainerRegistry registry,
    RuntimeCommand runtime,
    ProcessWatcher watcher,
    Adoption adoption,
    Supervisor.Daemon.Metrics metrics,
    ILogger<Removal> logger)
{
    private const uint LostStatus = ExitStatus.UnknownCode;
    private const int LogTailBytes = 4096;

    /// <summary>
    /// Deletes a container that was created. Whoever comes while it is under way waits for the same deletion; it goes on when its
    /// callers have given up.
    /// </summary>
    internal Task DeleteAsync(Container container) => container.DeleteOnce(async () =>
    {
        while (true)
        {
            var link = container.Link;
            if (link is not null && await AskShimToDeleteAsync(container, link))
            {
                await EndShimAsync(container, link);
                break;
            }

            await AwaitLossAsync(container);
            if (container.Link == link)
            {
                break;
            }

            // A new shim has just taken it over: that one is to be asked.
        }

        await FinishAsync(container);
    });

    /// <summary>Removes whatever there is of a container that no client was told of. Never throws for what it finds on the way.</summary>
    internal async Task UndoAsync(Container container)
    {
        if (container.Link is { } link)
        {
            if (await AskShimToDeleteQuietlyAsync(container, link))
            {
                await EndShimAsync(container, link);
            }
            else
            {
                await KillShimAsync(container, link);
            }

            await link.StopPumpAsync();
        }

        await SettleAsync(container);
        await FinishAsync(container);
    }

    /// <summary>Waits for the end of a container's shim and, if that was not asked for, does what is to be done then.</summary>
    internal async Task WatchShimAsync(Container container, ShimLink link)
    {
        using (var ended = new CancellationTokenSource())
        {
            var deleted = container.WaitForDeletionAsync(ended.Token);
            if (await Task.WhenAny(link.Process.Ended, deleted) == deleted)
            {
                // Somebody may have talked to the shim itself. The rest of the deletion is ours; if it is under way already, this joins it.
                _ = DeleteAsync(container);
            }

            await ended.CancelAsync();
        }

        var status = await link.Process.Ended;
        if (link.IsEnding)
        {
            ShimsLog.Ended(logger, container.Id, link.Process.Pid, Describe(status));
            return;
        }

        metrics.CountLostShim();
        ShimsLog.Lost(logger, container.Id, link.Process.Pid, Describe(status), LogTail(container));
        try
        {
            await link.StopPumpAsync();
            await SettleLossAsync(container);
        }
        catch (Exception e)
        {
            ContainersLog.CleanUpFailed(logger, container.Id, e);
            throw;
        }
    }

    /// <summary>What is to be done about a container without its shim: a new shim takes it over, if it is to and can, or it ends.</summary>
    internal async Task SettleLossAsync(Container container)
    {
        PublishJournal(container);
        if (!await adoption.TryAsync(container, WatchShimAsync))
        {
            await SettleAsync(container);
        }
    }

    /// <summary>
    /// What is owed when a container has no shim any more: the events that it wrote down and did not deliver, the end of everything
    /// that still runs, and the exits that nobody can tell us about now.
    /// </summary>
    internal async Task SettleAsync(Container container)
    {
        PublishJournal(container);
        if (container.IsCommitted && container.Track is null)
        {
            // The journal's last word was the deletion.
            return;
        }

        // Opened first: as long as we hold them, what becomes of them is not lost.
        var init = container.Record is { InitPid: > 0 } known ? Orphan.TryOpen(known.InitPid, known.InitStartTime, watcher) : null;
        var execs = (container.Track?.RunningExecs ?? []).Select(pid => Orphan.TryOpenChild((int)pid, watcher)).OfType<Orphan>().ToList();
        if (container.Record is { ShimPid: > 0 } record)
        {
            await RuntimeOrphans.AwaitAsync(record.ShimPid, container.Id, watcher);
        }

        var initExit = await EndInitAsync(container, init);
        if (container.Record is { } kept
            && await runtime.DeleteAsync(kept.Runtime, kept.RuntimeRoot, container.Id) is { } failure)
        {
            ShimsLog.RuntimeDeleteFailed(logger, container.Id, failure);
        }

        await PublishLostExitsAsync(container, initExit, execs);
        watcher.CollectStrays();
    }

    /// <summary>The last steps: the DELETED event if it has not come from the shim, the files, the id.</summary>
    internal async Task FinishAsync(Container container)
    {
        if (container.Link is { } link)
        {
            await link.StopPumpAsync();
        }

        PublishJournal(container);
        if (container.Track is { } track)
        {
            container.Publish(Draft(container, EventType.Deleted, track.InitPid, init: true));
        }

        container.Link?.Dispose();
        container.Directory.Remove();
        registry.Remove(container);
        ContainersLog.Removed(logger, container.Id);
    }

    /// <summary>Waits until the loss of the shim has been dealt with; does it again if that failed.</summary>
    private async Task AwaitLossAsync(Container container)
    {
        try
        {
            await container.ShimEnd;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // It has been logged where it happened.
            await SettleAsync(container);
        }
    }

    /// <summary>
    /// What the shim wrote down and could not deliver. Nothing when no event of the container was ever published, or all were: then
    /// its sequence numbers are not known, and telling its whole story (again) would be wrong.
    /// </summary>
    private static void PublishJournal(Container container)
    {
        if (container.Track is null)
        {
            return;
        }

        foreach (var record in ShimJournal.ReadAfter(container.Directory.JournalPath, container.ShimSequence, container.Id))
        {
            container.Publish(record);
        }
    }

    /// <summary>True when the shim has deleted the container, false when there is no shim to do it (any more).</summary>
    private async Task<bool> AskShimToDeleteAsync(Container container, ShimLink link)
    {
        try
        {
            await link.CallAsync(
                "delete",
                Deadlines.Delete,
                (client, options) => client.DeleteAsync(new Containerd.Shim.V1.DeleteRequest(), options),
                CancellationToken.None);
            return true;
        }
        catch (Grpc.Core.RpcException e) when (e.StatusCode == Grpc.Core.StatusCode.NotFound)
        {
            // An earlier deletion got as far as this.
            return true;
        }
        catch (TaskException e) when (e.Kind == ErrorKind.Unavailable)
        {
            // The client wants the container gone, so nothing is lost with a shim that hangs.
            if (!link.Process.HasEnded)
            {
                ShimsLog.Killed(logger, container.Id, link.Process.Pid);
                link.Process.Kill();
            }

            return false;
        }
    }

    private async Task<bool> AskShimToDeleteQuietlyAsync(Container container, ShimLink link)
    {
        try
        {
            return await AskShimToDeleteAsync(container, link);
        }
        catch (Exception e) when (e is Grpc.Core.RpcException or OperationCanceledException)
        {
            ContainersLog.UndoRefused(logger, container.Id, e.Message);
            return false;
        }
    }

    private async Task EndShimAsync(Container container, ShimLink link)
    {
        link.IsEnding = true;

        // A shim that ends gives its open streams a while; what has not come through ours yet is in the journal.
        await link.StopPumpAsync();
        try
        {
            await link.CallAsync(
                "shut down",
                Deadlines.Shutdown,
                (client, options) => client.ShutdownAsync(new Containerd.Shim.V1.ShutdownRequest(), options),
                CancellationToken.None);
            await link.Process.Ended.WaitAsync(Deadlines.Shutdown);
        }
        catch (Exception e) when (e is TaskException or Grpc.Core.RpcException or TimeoutException)
        {
            await KillShimAsync(container, link);
        }
    }

    private async Task KillShimAsync(Container container, ShimLink link)
    {
        link.IsEnding = true;
        if (!link.Process.HasEnded)
        {
            ShimsLog.Killed(logger, container.Id, link.Process.Pid);
            link.Process.Kill();
        }

        await link.Process.Ended.WaitAsync(Deadlines.Shutdown);
    }

    /// <summary>Kills init if it is still there; says how it ended. Null when nobody knows.</summary>
    private async Task<ExitRecord?> EndInitAsync(Container container, Orphan? init)
    {
        if (init is null)
        {
            return null;
        }

        init.Signal(Libc.SIGKILL);
        try
        {
            var status = await init.Ended.WaitAsync(Deadlines.Shutdown);
            return status is null && init.HadExited ? null : EndOf(init, status);
        }
        catch (TimeoutException)
        {
            ContainersLog.InitSurvives(logger, container.Id, init.Pid);
            return null;
        }
    }

    private static async Task PublishLostExitsAsync(Container container, ExitRecord? initExit, IReadOnlyList<Orphan> execs)
    {
        if (container.Track is not { } track)
        {
            return;
        }

        foreach (var pid in track.RunningExecs)
        {
            var exit = execs.FirstOrDefault(exec => exec.Pid == pid) is { } exec ? await EndOfAsync(exec) : null;
            container.Publish(Draft(container, EventType.Exited, pid, init: false) with { Exit = exit ?? LostExit(killed: false) });
        }

        if (track.Exit is null)
        {
            container.Publish(Draft(container, EventType.Exited, track.InitPid, init: true) with { Exit = initExit ?? LostExit(killed: false) });
        }
    }

    private static async Task<ExitRecord?> EndOfAsync(Orphan orphan)
    {
        try
        {
            return await orphan.Ended.WaitAsync(Deadlines.Shutdown) is { } status ? EndOf(orphan, status) : null;
        }
        catch (TimeoutException)
        {
            return null;
        }
    }

    /// <summary>The truth where it is known: a process that ended by itself did so whether its shim was there or not.</summary>
    private static ExitRecord EndOf(Orphan orphan, ExitStatus? status) => status switch
    {
        null or { Signal: Libc.SIGKILL } when !orphan.HadExited => LostExit(killed: true),
        null => LostExit(killed: false),
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

    private static ExitRecord LostExit(bool killed) => new()
    {
        Status = killed ? 128u + Libc.SIGKILL : LostStatus,
        Signal = killed ? (uint)Libc.SIGKILL : 0,
        Reason = killed ? ExitReason.ShimLost : ExitReason.Unknown,
        Message = killed ? "its shim was lost, and the process was killed for it" : "its shim was lost, and with it the exit status",
        Time = DateTime.UtcNow,
    };

    private static EventRecord Draft(Container container, EventType type, uint pid, bool init) => new()
    {
        Type = type,
        ContainerId = container.Id,
        Pid = pid,
        Init = init,
        Time = DateTime.UtcNow,
    };

    private static string Describe(ExitStatus? status) => status switch
    {
        null => "its status went to another parent",
        { Signal: > 0 } => $"killed by signal {status.Value.Signal}",
        _ => $"exit code {status.Value.Code}",
    };

    private static string LogTail(Container container)
    {
        try
        {
            using var file = File.OpenHandle(container.Directory.ShimLogPath, options: FileOptions.None, share: FileShare.ReadWrite);
            var length = RandomAccess.GetLength(file);
            var buffer = new byte[Math.Min(length, LogTailBytes)];
            return Encoding.UTF8.GetString(buffer.AsSpan(0, RandomAccess.Read(file, buffer, length - buffer.Length))).Trim();
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }
}
