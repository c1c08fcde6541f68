using Containerd;
using Shim.Interop;
using Shim.Loops;
using Shim.Tasks;

namespace Shim.Bootstrap;

/// <summary>
/// What a signal to end does to the containers: they go first, because without a shim nobody would be their parent. Each is asked, given a few seconds, killed
/// and removed.
/// </summary>
internal static class OrderlyStop
{
    // From SIGTERM for a container to its SIGKILL.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(3);

    /// <summary>Stops and removes all containers side by side; no new one can be made from now on.</summary>
    internal static async Task RunAsync(TaskService tasks, TaskLog log) =>
        await Task.WhenAll((await tasks.CloseAndTakeAsync().ConfigureAwait(false)).Select(container => RemoveAsync(container, log))).ConfigureAwait(false);

    private static async Task RemoveAsync(Container container, TaskLog log)
    {
        try
        {
            log.Info($"asked to end: stopping container {container.Id}");
            if (container.State is not InitState.Stopped)
            {
                container.Signal(0, Libc.SIGTERM);
                await container.WaitAsync(0, CancellationToken.None).WithinAsync(s_grace).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is TimeoutException or TaskException)
        {
            // Did not listen, or was faster: removed below either way.
        }

        try
        {
            if (container is { State: not InitState.Deleted })
            {
                await container.DeleteAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
        catch (TaskException e)
        {
            log.Error($"container {container.Id} could not be removed: {e.Message}");
        }
    }
}
