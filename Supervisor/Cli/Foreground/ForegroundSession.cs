using Containerd.V1;
using Grpc.Core;

namespace Supervisor.Cli.Foreground;

/// <summary>The time in which a process is in the foreground: from when its streams are copied until it has ended, or is left alone.</summary>
internal sealed class ForegroundSession(SupervisorClient client, string containerId, uint pid, ForegroundStreams streams, ForegroundTerminal screen)
{
    private static readonly TimeSpan s_lateEnd = TimeSpan.FromSeconds(2);

    /// <summary>
    /// Waits until the process has ended and everything it wrote has been copied. Null when the person has detached: then the terminal is
    /// ours again, and the process goes on without us.
    /// </summary>
    internal async Task<Exit?> WaitAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var ending = client.WaitAsync(containerId, pid, stop.Token);
        await Task.WhenAny(ending, streams.Detached).ConfigureAwait(false);
        if (!ending.IsCompleted && await DetachAsync(ending, cancellationToken).ConfigureAwait(false))
        {
            await stop.CancelAsync().ConfigureAwait(false);
            return null;
        }

        var ended = await ending.ConfigureAwait(false);
        await streams.DrainAsync(cancellationToken).ConfigureAwait(false);
        return ended.Exit;
    }

    /// <summary>False when the process has just ended by itself.</summary>
    private async Task<bool> DetachAsync(Task ending, CancellationToken cancellationToken)
    {
        // Ours at once, also if the supervisor is away.
        screen.Dispose();
        try
        {
            var request = new DetachRequest { ContainerId = containerId, Pid = pid, Stdout = streams.Stdout };
            await SupervisorClient.PersistAsync(
                async () => await client.Supervisor.DetachAsync(request, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false),
                cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException) when (!cancellationToken.IsCancellationRequested)
        {
            // Nobody to leave alone any more?
            using var late = new CancellationTokenSource(s_lateEnd);
            if (await Task.WhenAny(ending, Task.Delay(Timeout.Infinite, late.Token)).ConfigureAwait(false) == ending)
            {
                return false;
            }

            throw;
        }

        await streams.SettleAsync().ConfigureAwait(false);
        return true;
    }
}
