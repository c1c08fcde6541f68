using Containerd;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Shim.Tasks;

namespace Shim.Transport.Grpc;

/// <summary>
/// Kestrel on an inherited unix listener, without a host and without routing. A web application would cost twice the memory, twice the start time, and wake up
/// several times a second.
/// </summary>
internal static class BareKestrel
{
    /// <summary>Serves <paramref name="application"/> over HTTP/2 on a listening socket, which the server owns from now on.</summary>
    internal static async Task<KestrelServer> StartAsync<TContext>(ulong listener, IHttpApplication<TContext> application, IServiceProvider services, TaskLog log)
        where TContext : notnull
    {
        var options = new KestrelServerOptions { ApplicationServices = services, AddServerHeader = false };

        // One connection carries a stream for every caller that waits for an exit: a limit would make further calls wait for those.
        options.Limits.Http2.MaxStreamsPerConnection = int.MaxValue;
        options.Limits.Http2.InitialStreamWindowSize = RequestBudget.WindowBytes;
        options.Limits.Http2.InitialConnectionWindowSize = RequestBudget.ConnectionWindowBytes;
        options.Limits.MinRequestBodyDataRate = null;
        options.Limits.MinResponseDataRate = null;
        options.Limits.MaxRequestBodySize = UnixChannel.MaxMessageBytes + 1024;
        options.ListenHandle(listener, endPoint =>
        {
            endPoint.Protocols = HttpProtocols.Http2;
            endPoint.Use(next => connection =>
                PeerCheck.IsAllowed(connection.Features.Get<IConnectionSocketFeature>()?.Socket, log.Error) ? next(connection) : Task.CompletedTask);
        });
        var server = new KestrelServer(
            Options.Create(options),
            new PatientListenerFactory(
                SocketTransportOptions.CreateDefaultBoundListenSocket,
                new AcceptPause(
                    reason => log.Error($"no connection can be accepted for now: {reason}"),
                    () => log.Info("connections are accepted again")),
                NullLoggerFactory.Instance),
            NullLoggerFactory.Instance);
        await server.StartAsync(application, CancellationToken.None).ConfigureAwait(false);
        if (!KestrelHeartbeat.Stop(server))
        {
            log.Info("Kestrel's heartbeat was not found: this shim will wake up once a second");
        }

        return server;
    }
}
