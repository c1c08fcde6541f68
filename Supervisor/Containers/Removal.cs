using System.Text;
using Containerd;
using Containerd.V1;
using Shim.Cgroups;
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
    Remains remains,
    ProcessWatcher watcher,
    Adoption adoption,
    Supervisor.Daemon.Metrics metrics,
    ILogger<Removal> logger)
{
    private const int LogTailBytes = 4096;

    private static readonly TimeSpan s_firstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Deletes a container that was created. Whoever comes while it is under way waits for the same deletion; it goes on when its
    /// callers have given up, and a supervisor that dies over it leaves it to its successor.
    /// </summary>
    internal Task DeleteAsync(Container container) => container.DeleteOnce(async () =>
    {
        Intend(container);
        while (!container.HasDeleted)
        {
            var link = container.Link;
            if (link is not null && await AskShimToDeleteAsync(container, link))
            {
                await AwaitLastEventsAsync(container, link);
                break;
            }

            await AwaitLossAsync(container);
            if (container.Link == link)
            {
                break;
            }

            // A new shim has just taken it over: that one is to be asked.
        }

        if (container.Link is { Process.HasEnded: false } left)
        {
            await EndShimAsync(container, left);
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

        var status = await link.Process.EndAsync();
        if (link.IsEnding)
        {
            ShimsLog.Ended(logger, container.Id, link.Process.Pid, container.HasDeleted ? "it was not needed any more" : Describe(status));
            return;
        }

        try
        {
            await link.StopPumpAsync();
            await WithRoomAsync(container, () =>
            {
                PublishJournal(container);
                return Task.CompletedTask;
            });
            if (container.HasDeleted)
            {
                // It was told to end by somebody else, and has ended in order: the container first. The rest is ours.
                ShimsLog.Ended(logger, container.Id, link.Process.Pid, Describe(status));
                _ = DeleteAsync(container);
                return;
            }

            metrics.CountLostShim();
            ShimsLog.Lost(logger, container.Id, link.Process.Pid, Describe(status), LogTail(container));
            await SettleLossAsync(container);
        }
        catch (Exception e)
        {
            ContainersLog.CleanUpFailed(logger, container.Id, e);
            throw;
        }
    }

    /// <summary>
    /// Tells everything that the journal knows of a container which our own log knows nothing of, because it was damaged: once too often is better
    /// than a container that nobody has ever heard of.
    /// </summary>
    internal void TellAgain(Container container) => PublishJournalAfter(container, 0);

    /// <summary>
    /// What is to be done about a container without its shim: a new shim takes it over, if it is to and can, or it ends. A full disk delays this; it
    /// does not make us forget it.
    /// </summary>
    internal Task SettleLossAsync(Container container) => WithRoomAsync(container, () => TrySettleLossAsync(container));

    /// <summary>Does something of which events come, again and again while they cannot be written down.</summary>
    private async Task WithRoomAsync(Container container, Func<Task> act)
    {
        for (var delay = s_firstRetry; ; delay = delay * 2 < s_lastRetry ? delay * 2 : s_lastRetry)
        {
            try
            {
                // First of all: what we find out on the way can only be found out once.
                container.RequireRoom();
                await act();
                return;
            }
            catch (IOException e) when (ErrorKinds.OfMachine(e) is not null)
            {
                ContainersLog.LossWaits(logger, container.Id, delay.TotalSeconds, e.Message);
            }

            await Task.Delay(delay);
        }
    }

    private async Task TrySettleLossAsync(Container container)
    {
        PublishJournal(container);
        if (!await adoption.TryAsync(container, WatchShimAsync))
        {
            await SettleAsync(container);
        }
    }

    /// <summary>
    /// What is owed when a container has no shim any more: the events that it wrote down and did not deliver, the end of everything
    /// that still runs, and the exits that nobody can tell us about now. Can be repeated after a failure.
    /// </summary>
    internal async Task SettleAsync(Container container)
    {
        PublishJournal(container);
        if (container.HasDeleted)
        {
            // The journal's last word was the deletion.
            return;
        }

        Renounce(container);

        // Opened first: as long as we hold them, what becomes of them is not lost.
        var known = container.Record is { InitPid: > 0 } record ? Orphan.TryOpen(record.InitPid, record.InitStartTime, watcher) : null;
        var init = known ?? (container.Track is { } track ? Orphan.TryOpenChild((int)track.InitPid, watcher) : null);
        var execs = (container.Track?.AllExecs ?? []).Select(pid => Orphan.TryOpenChild((int)pid, watcher)).OfType<Orphan>().ToList();

        // The init of a pid namespace does not end before the last process in it was collected, and that may be one of which nobody knows: an exec
        // that the shim had not written down yet.
        watcher.CollectStrays();
        if (container.IsCommitted)
        {
            // Whoever waits for the exits hears of them at once, however long the runtime takes for its part.
            await EndProcessesAsync(container, init);
            await LostExits.PublishAsync(container, init, execs);
        }

        if (container.Record is { ShimPid: > 0 } shim)
        {
            await RuntimeOrphans.AwaitAsync(shim.ShimPid, container.Id, watcher);
        }

        await remains.RemoveAsync(container);
        await LostExits.PublishAsync(container, init, execs);
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
            container.Publish(LostExits.Draft(container.Id, EventType.Deleted, track.InitPid, init: true));
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
            await container.ShimEnd.WaitAsync(Deadlines.Verb);
        }
        catch (TimeoutException) when (!container.ShimEnd.IsCompleted)
        {
            throw new TaskException(
                ErrorKind.Exhausted,
                $"delete container {container.Id}: its shim is lost, and what follows from that cannot be written down yet (is a disk full?)");
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
    private void PublishJournal(Container container)
    {
        if (container.Track is not null)
        {
            PublishJournalAfter(container, container.ShimSequence);
        }
    }

    private void PublishJournalAfter(Container container, ulong sequence)
    {
        var damaged = (string damage) => ContainersLog.Damaged(logger, container.Id, damage);
        foreach (var record in ShimJournal.ReadAfter(container.Directory.JournalPath, sequence, container.Id, damaged))
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
        catch (TaskException e) when (e.Kind == ErrorKind.NotFound)
        {
            // And its shim has ended.
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

    /// <summary>
    /// A shim is not ended before its last events are on our disk: where that is full they would be lost with it. The container itself is gone by
    /// then, and the rest follows when there is room.
    /// </summary>
    private static async Task AwaitLastEventsAsync(Container container, ShimLink link)
    {
        try
        {
            if (container.Track is not null)
            {
                await container.WaitForDeletionAsync(CancellationToken.None).WaitAsync(Deadlines.EventsOfAnswer);
            }
        }
        catch (TimeoutException)
        {
            try
            {
                container.RequireRoom();

                // Slow, no more: its journal tells the rest.
            }
            catch (IOException e)
            {
                throw new TaskException(
                    ErrorKind.Exhausted,
                    $"delete container {container.Id}: it is ended and removed, but its last events cannot be written down yet; they, and the deletion, follow when they can: {e.Message}",
                    e);
            }
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
        if (container.HasDeleted)
        {
            // It has told its last event, and its container is gone: there is nothing that it would put into order, and no reason to wait for that.
            link.Process.Kill();
            await link.Process.Ended.WaitAsync(Deadlines.Shutdown);
            return;
        }

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

    /// <summary>Kills init, and with it (or one by one, where it has no pid namespace of its own) all others.</summary>
    private async Task EndProcessesAsync(Container container, Orphan? init)
    {
        init?.Signal(Libc.SIGKILL);
        CgroupFootprint.Kill(container.Record?.Cgroups ?? []);
        try
        {
            await (init?.Ended ?? Task.CompletedTask).WaitAsync(Deadlines.Shutdown);
        }
        catch (TimeoutException)
        {
            ContainersLog.InitSurvives(logger, container.Id, init!.Pid);
        }
    }

    /// <summary>Writes down that the container is to go. A full disk does not keep it: what cannot be written is only forgotten if we die over it.</summary>
    private void Intend(Container container) => Note(container, record => record with { Deleting = true });

    /// <summary>
    /// Writes down that no shim is to take the container over any more. Otherwise a successor of ours might, and tell again of what we are about
    /// to tell.
    /// </summary>
    private void Renounce(Container container) => Note(container, record => record with { AdoptsLoss = false });

    private void Note(Container container, Func<ContainerRecord, ContainerRecord> change)
    {
        if (container.Record is not { } record || change(record) == record)
        {
            return;
        }

        try
        {
            container.Save(current => change(current!));
        }
        catch (IOException e)
        {
            ContainersLog.NotNoted(logger, container.Id, e.Message);
        }
    }

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
