using System.Net.Sockets;
using Grpc.Net.Client;

namespace Containerd;

/// <summary>Opens gRPC channels over unix sockets. Nothing in this project talks over anything else.</summary>
public static class UnixChannel
{
    /// <summary>The largest message that either side accepts, in bytes.</summary>
    public const int MaxMessageBytes = 4 * 1024 * 1024;

    /// <summary>A channel to the server that listens on <paramref name="socketPath"/>. Nothing is connected before the first call.</summary>
    public static GrpcChannel Open(string socketPath, TimeSpan? connectTimeout = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(socketPath);
        var endPoint = new UnixDomainSocketEndPoint(socketPath);
        var handler = new SocketsHttpHandler
        {
            // A dead peer shows as a broken connection on a unix socket: no keep-alive pings, no idle wake-ups.
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,

            // More than a hundred waits at once must not queue up the calls behind them.
            EnableMultipleHttp2Connections = true,
            ConnectTimeout = connectTimeout ?? TimeSpan.FromSeconds(5),
            UseProxy = false,
            AllowAutoRedirect = false,
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(endPoint, cancellationToken).ConfigureAwait(false);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        return GrpcChannel.ForAddress("http://unix", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = MaxMessageBytes,
            MaxSendMessageSize = MaxMessageBytes,
        });
    }
}
