using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Shim.Interop;

namespace Supervisor.Daemon;

/// <summary>Who is at the other end of a unix connection, as the kernel says.</summary>
internal readonly record struct PeerCredentials(int Pid, uint Uid, uint Gid)
{
    /// <summary>The credentials that the peer had when it connected.</summary>
    internal static PeerCredentials Of(Socket socket)
    {
        var peer = UnixSockets.PeerOf(socket.SafeHandle);
        return new PeerCredentials(peer.Pid, peer.User, peer.Group);
    }
}

/// <summary>
/// Lets root in and nobody else, before a byte of the connection is read. The socket's mode says the same; this holds also where
/// somebody changed the mode or passed a descriptor on.
/// </summary>
internal static class PeerCheck
{
    /// <summary>Puts the check in front of a listener's connections.</summary>
    internal static void UsePeerCheck(this ListenOptions options, ILogger logger) => options.Use(next => async connection =>
    {
        var socket = connection.Features.Get<IConnectionSocketFeature>()?.Socket;
        if (socket is null || PeerCredentials.Of(socket) is not { Uid: 0 } peer)
        {
            DaemonLog.PeerRefused(logger, socket is null ? default : PeerCredentials.Of(socket));
            connection.Abort(new ConnectionAbortedException("not root"));
            return;
        }

        connection.Features.Set(new PeerFeature(peer));
        await next(connection);
    });
}

/// <summary>The peer of a connection, for the audit lines of its calls.</summary>
internal sealed record PeerFeature(PeerCredentials Peer);
