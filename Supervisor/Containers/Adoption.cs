using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>
/// Puts a new shim in the place of one that was lost, for containers that are to live on. The processes become our children (a supervisor is a
/// subreaper) or, after a restart of the supervisor, init's: in the first case we learn the exit statuses and tell the new shim.
/// </summary>
internal sealed class Adoption(ShimLauncher launcher, ProcessWatcher watcher, ILogger<Adoption> logger)
{
    // A shim that cannot live here would otherwise be started again and again.
    private const int MaxInAMinute = 5;

    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);

    /// <summary>
    /// Tries it, if the container is to be adopted and there is something to adopt. When this returns true the container has a shim, which
    /// <paramref name="watch"/> watches; when it returns false there is none.
    /// </summary>
    internal async Task<bool> TryAsync(Container container, Func<Container, ShimLink, Task> watch)
    {
        await Task.Yield();
        if (container.Record is not { AdoptsLoss: true, Complete: true } record || container.Track is not { Exit: null } track
            || container.IsDeleting || !container.MayAdopt(MaxInAMinute, s_minute))
        {
            return false;
        }

        // From here on every end is seen, and collected if we are the parent.
        var orphans = track.AllExecs.Select(pid => Orphan.TryOpenChild((int)pid, watcher))
            .Append(Orphan.TryOpen(record.InitPid, record.InitStartTime, watcher)).OfType<Orphan>().ToList();
        watcher.CollectStrays();
        await RuntimeOrphans.AwaitAsync(record.ShimPid, container.Id, watcher);
        ShimLink? link = null;
        try
        {
            var process = launcher.Launch(container.Directory, record);
            ShimsLog.Started(logger, container.Id, process.Pid);
            link = new ShimLink(container, process, logger);
            container.Save(current => current! with { ShimPid = process.Pid, ShimStartTime = process.StartTime });
            link.StartPump();
            await AskAsync(container, link);
        }
        catch (Exception e) when (e is TaskException or RpcException or IOException or InvalidOperationException)
        {
            ShimsLog.NotAdopted(logger, container.Id, e is RpcException rpc ? rpc.Status.Detail : e.Message);
            if (link is not null)
            {
                link.IsEnding = true;
                link.Process.Kill();
                await link.Process.Ended;
                await link.StopPumpAsync();
                link.Dispose();
            }

            watcher.CollectStrays();
            return false;
        }

        ShimsLog.Adopted(logger, container.Id, link.Process.Pid);
        var lost = container.Link;
        container.Link = link;
        lost?.Dispose();
        container.ShimEnd = watch(container, link);
        foreach (var orphan in orphans)
        {
            _ = TellAsync(link, orphan);
        }

        watcher.CollectStrays();
        return true;
    }

    /// <summary>Has a shim take the container over.</summary>
    internal static async Task AskAsync(Container container, ShimLink link)
    {
        var record = container.Record!;
        var request = new AdoptRequest { Id = record.Id, Bundle = record.Bundle, Runtime = record.Runtime, AfterSequence = container.ShimSequence };
        await link.CallAsync(
            "adopt",
            Deadlines.Verb,
            (client, options) => client.AdoptAsync(request, options),
            CancellationToken.None);
    }

    private static async Task TellAsync(ShimLink link, Orphan orphan)
    {
        if (await orphan.Ended is not { } status)
        {
            return;
        }

        var word = status.Signal != 0 ? status.Signal | (status.CoreDumped ? 0x80 : 0) : status.Code << 8;
        try
        {
            await link.CallAsync(
                "report an exit to",
                Deadlines.Read,
                (client, options) => client.CollectedAsync(new CollectedRequest { Pid = (uint)orphan.Pid, WaitStatus = (uint)word }, options),
                CancellationToken.None);
        }
        catch (Exception e) when (e is TaskException or RpcException)
        {
            // The shim has learned it from the kernel and is done with the container, or is lost itself.
        }
    }
}
