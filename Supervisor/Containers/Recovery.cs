using System.Diagnostics.CodeAnalysis;
using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Shim.Interop;
using Supervisor.Daemon;
using Supervisor.Events;
using Supervisor.Shims;
using EventType = Containerd.V1.EventType;
using Stopwatch = System.Diagnostics.Stopwatch;

namespace Supervisor.Containers;

/// <summary>
/// Finds the containers of a former supervisor again. Runs before the API is served, waits a moment for shims to answer, and goes on
/// in the background for those that don't: one mute shim must not keep a supervisor from starting.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "A semaphore without a wait handle holds nothing that needs disposal.")]
internal sealed class Recovery(
    RootDirectory root,
    ContainerRegistry registry,
    EventLog events,
    ProcessWatcher watcher,
    StrayShims strays,
    Removal removal,
    LostRecord lostRecord,
    ILogger<Recovery> logger)
{
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(10);

    // So many shims are asked at a time. A thousand at once would take each other's time, until none of them answers within its deadline.
    private static readonly int s_askedAtOnce = 16 * Environment.ProcessorCount;

    private readonly SemaphoreSlim _turns = new(s_askedAtOnce);

    /// <summary>Returns when all shims have answered, or after <see cref="Deadlines.Recovery"/>.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var containers = Directory.EnumerateDirectories(root.Containers)
            .Where(IsContainer)
            .Select(path => root.OfContainer(Path.GetFileName(path)))
            .Select(directory => new Container(Path.GetFileName(directory.Path), directory, events, directory.Read()))
            .ToList();
        containers.ForEach(registry.Add);

        ForgetMissing(containers);
        var recoveries = containers.ConvertAll(container => RecoverAsync(container, cancellationToken));
        var all = Task.WhenAll(recoveries);
        await Task.WhenAny(all, Task.Delay(Deadlines.Recovery, cancellationToken));
        ContainersLog.Recovered(logger, containers.Count, recoveries.Count(recovery => recovery.IsCompletedSuccessfully), clock.ElapsedMilliseconds);
        if (containers.Count > 0)
        {
            // Asking hundreds of shims at once is the largest burst of this process's life; what it needed is given back.
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            _ = Libc.MallocTrim(0);
        }
    }

    private bool IsContainer(string path)
    {
        if (ContainerId.IsValid(Path.GetFileName(path)))
        {
            return true;
        }

        ContainersLog.Stranger(logger, path);
        return false;
    }

    private async Task RecoverAsync(Container container, CancellationToken cancellationToken)
    {
        try
        {
            if (container.Record is null && await lostRecord.RebuildAsync(container, cancellationToken) is { } rebuilt)
            {
                container.Remember(rebuilt);
            }

            var record = container.Record;
            var process = record is null ? null : ShimProcess.TryFind(record.ShimPid, record.ShimStartTime, watcher);
            if (process is null && record is { Complete: true } && container.Track is null && events.HasLostEvents)
            {
                removal.TellAgain(container);
            }

            var decision = RecoveryPlan.Decide(
                record is not null, record?.Complete ?? false, record?.Deleting ?? false, process is not null, container.Track is not null);
            ContainersLog.Recovering(logger, container.Id, decision);
            container.IsCommitted = decision != RecoveryDecision.CleanUp;
            await Task.Yield();

            switch (decision)
            {
                case RecoveryDecision.Reconnect:
                    await ReconnectAsync(container, process!, cancellationToken);
                    break;
                case RecoveryDecision.SettleLoss:
                    container.ShimEnd = WithoutStraysAsync(container, removal.SettleLossAsync);
                    await container.ShimEnd;
                    break;
                case RecoveryDecision.Delete:
                    await DeleteAsync(container, process);
                    break;
                default:
                    await strays.EndAsync(container.Directory, except: process?.Pid);
                    container.Link = process is null ? null : new ShimLink(container, process, logger);
                    if (container.Track is not null)
                    {
                        container.Link?.StartPump();
                    }

                    await removal.UndoAsync(container);
                    break;
            }

            if (container.HasDeleted)
            {
                // A client may be deleting it right now, which comes to the same.
                await container.DeleteOnce(() => removal.UndoAsync(container));
            }
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            ContainersLog.CleanUpFailed(logger, container.Id, e);
            throw;
        }
    }

    private async Task ReconnectAsync(Container container, ShimProcess process, CancellationToken cancellationToken)
    {
        var link = new ShimLink(container, process, logger);
        container.Link = link;
        container.ShimEnd = removal.WatchShimAsync(container, link);
        for (var delay = s_firstRetry; !process.HasEnded; delay = delay * 2 < s_lastRetry ? delay * 2 : s_lastRetry)
        {
            try
            {
                if (await FindAsync(container, link, cancellationToken) is not { } state)
                {
                    // It was being deleted, and its last event is out already.
                    return;
                }

                if (!state.Exists && !container.HasDeleted)
                {
                    // The former supervisor died between starting it and having it adopt the container of a lost one.
                    await Adoption.AskAsync(container, link);
                }

                ShimsLog.Reconnected(logger, container.Id, process.Pid);
                return;
            }
            catch (RpcException e) when (e.StatusCode is not (StatusCode.AlreadyExists or StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled))
            {
                // It cannot take the container over. Its end is a loss like any other.
                ShimsLog.NotAdopted(logger, container.Id, e.Status.Detail);
                process.Kill();
            }
            catch (Exception e) when (e is TaskException or RpcException or TimeoutException)
            {
                ShimsLog.Mute(logger, container.Id, process.Pid, delay.TotalSeconds);
            }

            await Task.WhenAny(process.Ended, Task.Delay(delay, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
        }

        await container.ShimEnd;
    }

    /// <summary>Asks the shim what it has, when it is its turn, and catches up with its events; null when there is nothing any more.</summary>
    private async Task<StateResponse?> FindAsync(Container container, ShimLink link, CancellationToken cancellationToken)
    {
        await _turns.WaitAsync(cancellationToken);
        try
        {
            if (container.Track is not null)
            {
                // A mute shim's events come in as soon as it wakes up, however long the next question takes.
                link.StartPump();
            }

            var state = await link.CallAsync(
                "find",
                Deadlines.Read,
                (client, options) => client.StateAsync(new StateRequest(), options),
                cancellationToken);
            if (!state.Exists && container.Track is null)
            {
                return null;
            }

            link.StartPump();
            await container.WaitForEventsAsync(state.Sequence, cancellationToken).WaitAsync(Deadlines.EventsOfAnswer, cancellationToken);
            return state;
        }
        finally
        {
            _turns.Release();
        }
    }

    private async Task WithoutStraysAsync(Container container, Func<Container, Task> settle)
    {
        await strays.EndAsync(container.Directory);
        await settle(container);
    }

    private async Task DeleteAsync(Container container, ShimProcess? process)
    {
        if (process is null)
        {
            container.ShimEnd = WithoutStraysAsync(container, removal.SettleAsync);
        }
        else
        {
            var link = container.Link = new ShimLink(container, process, logger);
            container.ShimEnd = removal.WatchShimAsync(container, link);
            link.StartPump();
        }

        await removal.DeleteAsync(container);
    }

    /// <summary>Containers whose directory was removed by hand: their events must come to an end all the same.</summary>
    private void ForgetMissing(List<Container> found)
    {
        var missing = events.TrackedContainers().Except(found.Select(container => container.Id), StringComparer.Ordinal);
        foreach (var id in missing)
        {
            var track = events.Track(id)!;
            ContainersLog.DirectoryMissing(logger, id);
            var exit = LostExits.Unknown("the container's directory was removed");
            foreach (var pid in track.AddedExecs)
            {
                events.Append(LostExits.Draft(id, EventType.Started, pid, init: false));
            }

            foreach (var pid in track.AllExecs)
            {
                events.Append(LostExits.Draft(id, EventType.Exited, pid, init: false) with { Exit = exit });
            }

            if (track.Exit is null)
            {
                events.Append(LostExits.Draft(id, EventType.Exited, track.InitPid, init: true) with { Exit = exit });
            }

            events.Append(LostExits.Draft(id, EventType.Deleted, track.InitPid, init: true));
        }
    }
}
