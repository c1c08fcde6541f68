using Containerd;
using Containerd.Shim.V1;
using Containerd.V1;
using Grpc.Core;
using Shim.Interop;
using Shim.Processes;
using Supervisor.Daemon;
using Supervisor.Events;
using Supervisor.Shims;
using EventType = Containerd.V1.EventType;
using ShimContract = Containerd.Shim.V1.Shim;
using Stopwatch = System.Diagnostics.Stopwatch;

namespace Supervisor.Containers;

/// <summary>
/// Finds the containers of a former supervisor again. Runs before the API is served, waits a moment for shims to answer, and goes on
/// in the background for those that don't: one mute shim must not keep a supervisor from starting.
/// </summary>
internal sealed class Recovery(
    RootDirectory root,
    ContainerRegistry registry,
    EventLog events,
    ProcessWatcher watcher,
    Removal removal,
    ILogger<Recovery> logger)
{
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(10);

    /// <summary>Returns when all shims have answered, or after <see cref="Deadlines.Recovery"/>.</summary>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var containers = Directory.EnumerateDirectories(root.Containers)
            .Select(path => new Container(Path.GetFileName(path), root.OfContainer(Path.GetFileName(path)), events))
            .ToList();
        foreach (var container in containers)
        {
            container.Record = container.Directory.Read();
            registry.Add(container);
        }

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

    private async Task RecoverAsync(Container container, CancellationToken cancellationToken)
    {
        try
        {
            var record = container.Record;
            var process = record is null ? null : ShimProcess.TryFind(record.ShimPid, record.ShimStartTime, watcher);
            var decision = RecoveryPlan.Decide(record is not null, record?.Complete ?? false, process is not null, container.Track is not null);
            ContainersLog.Recovering(logger, container.Id, decision);
            container.IsCommitted = decision != RecoveryDecision.CleanUp;
            await Task.Yield();

            switch (decision)
            {
                case RecoveryDecision.Reconnect:
                    await ReconnectAsync(container, process!, cancellationToken);
                    break;
                case RecoveryDecision.SettleLoss:
                    container.ShimEnd = removal.SettleLossAsync(container);
                    await container.ShimEnd;
                    break;
                default:
                    process ??= await FindByAskingAsync(container, cancellationToken);
                    container.Link = process is null ? null : new ShimLink(container, process, logger);
                    if (container.Track is not null)
                    {
                        container.Link?.StartPump();
                    }

                    await removal.UndoAsync(container);
                    break;
            }

            if (container.IsCommitted && container.Track is null)
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
        if (container.Track is not null)
        {
            // A mute shim's events come in as soon as it wakes up, however long the next question takes.
            link.StartPump();
        }

        for (var delay = s_firstRetry; !process.HasEnded; delay = delay * 2 < s_lastRetry ? delay * 2 : s_lastRetry)
        {
            try
            {
                var state = await link.CallAsync(
                    "find",
                    Deadlines.Read,
                    (client, options) => client.StateAsync(new StateRequest(), options),
                    cancellationToken);
                if (!state.Exists && container.Track is null)
                {
                    // It was being deleted, and its last event is out already.
                    return;
                }

                link.StartPump();
                await container.WaitForEventsAsync(state.Sequence, cancellationToken).WaitAsync(Deadlines.EventsOfAnswer, cancellationToken);
                ShimsLog.Reconnected(logger, container.Id, process.Pid);
                return;
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

    /// <summary>A supervisor that died between starting a shim and writing its pid down left one that only its socket leads to.</summary>
    private async Task<ShimProcess?> FindByAskingAsync(Container container, CancellationToken cancellationToken)
    {
        if (!File.Exists(container.Directory.SocketPath))
        {
            return null;
        }

        using var channel = UnixChannel.Open(container.Directory.SocketPath);
        try
        {
            var options = new CallOptions(deadline: DateTime.UtcNow + Deadlines.Read, cancellationToken: cancellationToken);
            var info = await new ShimContract.ShimClient(channel).InfoAsync(new Containerd.Shim.V1.InfoRequest(), options);
            return ShimProcess.TryFind((int)info.Pid, ProcFs.StartTime((int)info.Pid) ?? 0, watcher);
        }
        catch (RpcException)
        {
            // Nobody listens any more: the shim is gone, or never was.
            return null;
        }
    }

    /// <summary>Containers whose directory was removed by hand: their events must come to an end all the same.</summary>
    private void ForgetMissing(List<Container> found)
    {
        var missing = events.TrackedContainers().Except(found.Select(container => container.Id), StringComparer.Ordinal);
        foreach (var id in missing)
        {
            var track = events.Track(id)!;
            ContainersLog.DirectoryMissing(logger, id);
            var draft = new EventRecord { Type = EventType.Deleted, ContainerId = id, Pid = track.InitPid, Init = true, Time = DateTime.UtcNow };
            if (track.Exit is null)
            {
                var exit = new ExitRecord
                {
                    Status = ExitStatus.UnknownCode,
                    Reason = ExitReason.Unknown,
                    Message = "the container's directory was removed",
                    Time = DateTime.UtcNow,
                };
                events.Append(draft with { Type = EventType.Exited, Exit = exit });
            }

            events.Append(draft);
        }
    }
}
