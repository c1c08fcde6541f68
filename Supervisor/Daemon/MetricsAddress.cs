using System.Net;
using System.Net.Sockets;

namespace Supervisor.Daemon;

/// <summary>Where metrics may be served: loopback or a unix socket, never the network.</summary>
internal static class MetricsAddress
{
    private const string UnixPrefix = "unix:";

    /// <summary>Understands <c>127.0.0.1:PORT</c>, <c>[::1]:PORT</c> and <c>unix:PATH</c>; refuses to start with anything else.</summary>
    internal static EndPoint Parse(string address)
    {
        if (address.StartsWith(UnixPrefix, StringComparison.Ordinal) && address.Length > UnixPrefix.Length)
        {
            var path = Path.GetFullPath(address[UnixPrefix.Length..]);
            return System.Text.Encoding.UTF8.GetByteCount(path) <= Settings.MaxSocketPath
                ? new UnixDomainSocketEndPoint(path)
                : throw new StartRefusedException($"--metrics {address}: the path is longer than {Settings.MaxSocketPath} bytes");
        }

        // A bare address without a port would parse with port 0, which nobody could find.
        return IPEndPoint.TryParse(address, out var endPoint) && IPAddress.IsLoopback(endPoint.Address) && endPoint.Port != 0
            ? endPoint
            : throw new StartRefusedException($"--metrics {address}: only 127.0.0.1:PORT, [::1]:PORT and unix:PATH are served");
    }
}
