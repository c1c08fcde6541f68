using Containerd;
using Containerd.Shim.V1;
using Grpc.Core;
using Shim.Processes;
using Supervisor.Daemon;
using Supervisor.Shims;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Supervisor.Containers;

/// <summary>
/// Puts together again what stood in a container.json that cannot be read: from the shim's command line, which the kernel keeps whatever becomes of
/// a disk, from the shim itself if it answers, and from the bundle.
/// </summary>
internal sealed class LostRecord(StrayShims shims, Settings settings, ILogger<LostRecord> logger)
{
    /// <summary>
    /// The record of a container that clients know of, and whose file is damaged or gone; written back if that can be done. Null for one that was
    /// being created: no client counts on it.
    /// </summary>
    internal async Task<ContainerRecord?> RebuildAsync(Container container, CancellationToken cancellationToken)
    {
        _ = container.Directory.Read(out var damage);
        if (damage is not null)
        {
            ContainersLog.Damaged(logger, container.Id, damage);
        }

        if (container.Track is not { } track)
        {
            return null;
        }

        var shim = shims.Find(container.Directory) ?? 0;
        var record = new ContainerRecord
        {
            Id = container.Id,
            Bundle = "/",
            Runtime = StrayShims.Option(shim, "--runtime") ?? settings.Runtime,
            RuntimeRoot = StrayShims.Option(shim, "--runtime-root") ?? settings.RuntimeRoot,
            CreatedAt = track.CreatedAt,
            ShimPid = shim,
            ShimStartTime = ProcFs.StartTime(shim) ?? 0,
            Complete = true,
        };
        if (shim != 0)
        {
            record = await AskAsync(container, record, cancellationToken);

            // As long as it is the shim's child, the number means the process that it meant when it was written down.
            var init = (int)track.InitPid;
            if (ProcFs.Parent(init) == shim)
            {
                record = record with { InitPid = init, InitStartTime = ProcFs.StartTime(init) ?? 0 };
            }
        }

        ContainersLog.RecordRebuilt(logger, container.Id, shim);
        try
        {
            container.Directory.Write(record);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            ContainersLog.Damaged(logger, container.Id, $"container.json cannot be written again: {e.Message}");
        }

        return record;
    }

    private static async Task<ContainerRecord> AskAsync(Container container, ContainerRecord record, CancellationToken cancellationToken)
    {
        using var channel = UnixChannel.Open(container.Directory.SocketPath);
        try
        {
            var options = new CallOptions(deadline: DateTime.UtcNow + Deadlines.Read, cancellationToken: cancellationToken);
            var state = await new ShimContract.ShimClient(channel).StateAsync(new StateRequest(), options);
            var bundle = await Bundle.ReadAsync(state.Bundle, cancellationToken);
            return record with { Bundle = bundle.Path, Owners = bundle.Owners, Terminal = bundle.Terminal, AdoptsLoss = bundle.AdoptsLoss };
        }
        catch (Exception e) when (e is RpcException or TaskException)
        {
            // Mute, or a bundle that was removed: the container can be used without.
            return record;
        }
    }
}
