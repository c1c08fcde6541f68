using System.Net.Sockets;
using Containerd;
using Shim.Tasks;
using Shim.Transport.Ttrpc;

namespace Shim.Transport.ShimV2;

/// <summary>The task API on ttrpc: what containerd prefers, and what costs least.</summary>
internal sealed class TtrpcTaskServer : ITaskServer
{
    private readonly TtrpcServer _server;
    private readonly Socket _listener;

    private TtrpcTaskServer(TtrpcServer server, Socket listener) => (_server, _listener) = (server, listener);

    /// <summary>Serves on an inherited listening socket.</summary>
    internal static TtrpcTaskServer Start(int descriptor, TaskApi api, TaskLog log, Action worked)
    {
        var server = new TtrpcServer(TtrpcTasks.Methods(api), new TtrpcServerOptions
        {
            ToStatus = e =>
            {
                if (!ErrorKinds.IsExpected(e))
                {
                    log.Error(e.ToString());
                }

                return ErrorKinds.ToStatus(e);
            },
            Log = log.Error,
            Accept = socket => PeerCheck.IsAllowed(socket, log.Error),
            Worked = worked,
        });
        var listener = new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
        _ = Task.Run(() => server.ServeAsync(listener, CancellationToken.None));
        return new TtrpcTaskServer(server, listener);
    }

    /// <inheritdoc/>
    public async Task StopAsync(TimeSpan grace)
    {
        await _server.StopAsync(grace).ConfigureAwait(false);
        _listener.Dispose();
    }
}
