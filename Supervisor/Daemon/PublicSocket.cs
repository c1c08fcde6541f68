using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Shim.Interop;

namespace Supervisor.Daemon;

/// <summary>The sockets that clients connect to. Only the holder of the root's lock comes here.</summary>
internal static class PublicSocket
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const uint OwnerOnlyUmask = 0x7f;

    /// <summary>Removes what a supervisor that was killed has left; refuses to start where somebody listens or something else lies.</summary>
    internal static void RemoveStale(string path, ILogger logger)
    {
        switch (Libc.KindOf(path, followLinks: false))
        {
            case FileKind.Missing:
                return;
            case FileKind.Socket when !HasListener(path):
                File.Delete(path);
                DaemonLog.StaleSocket(logger, path);
                return;
            case FileKind.Socket:
                throw new StartRefusedException($"somebody else listens on {path}");
            default:
                throw new StartRefusedException($"{path} is there and is not a socket");
        }
    }

    /// <summary>Binds for Kestrel: a unix socket is born with mode 0600, so that there is no moment in which others could connect.</summary>
    internal static Socket Bind(EndPoint endPoint)
    {
        if (endPoint is not UnixDomainSocketEndPoint)
        {
            return SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
        }

        var umask = Libc.Umask(OwnerOnlyUmask);
        try
        {
            var socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
            File.SetUnixFileMode(endPoint.ToString()!, OwnerOnly);
            return socket;
        }
        finally
        {
            _ = Libc.Umask(umask);
        }
    }

    private static bool HasListener(string path)
    {
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
