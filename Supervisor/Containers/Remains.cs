using Containerd;
using Shim.Cgroups;
using Supervisor.Daemon;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>What the runtime and the kernel keep of a container that has no shim to remove it: its state, its cgroup, its processes.</summary>
internal sealed class Remains(RuntimeCommand runtime, Settings settings, ILogger<Remains> logger)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Removes all of it, also when the runtime fails at first. Throws when it has to give up: then the container must stay known, because
    /// otherwise nobody would ever know what is left.
    /// </summary>
    internal async Task RemoveAsync(Container container)
    {
        var (binary, root) = container.Record is { } record ? (record.Runtime, record.RuntimeRoot) : (settings.Runtime, settings.RuntimeRoot);
        var end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        for (var delay = s_firstRetry; ; delay *= 2)
        {
            var failure = await runtime.DeleteAsync(binary, root, container.Id);
            foreach (var left in await CgroupFootprint.RemoveAsync(container.Record?.Cgroups ?? [], TimeProvider.System))
            {
                ContainersLog.CgroupStays(logger, container.Id, left);
            }

            if (failure is null)
            {
                return;
            }

            ShimsLog.RuntimeDeleteFailed(logger, container.Id, failure);
            if (!Directory.Exists(Path.Join(root, container.Id)))
            {
                // The runtime has no state of it, so nothing that only the runtime could remove.
                return;
            }

            if (Environment.TickCount64 + delay.TotalMilliseconds > end)
            {
                throw new TaskException(ErrorKind.RuntimeFailed, $"remove what is left of container {container.Id}: {failure}");
            }

            await Task.Delay(delay);
        }
    }
}
