using System.Net.Sockets;
using Shim.Interop;

namespace Shim.Transport;

/// <summary>
/// Who may connect: our own user and root. The mode of a socket already keeps others out; this holds even if its directory was opened to them.
/// </summary>
internal static class PeerCheck
{
    private const int SOL_SOCKET = 1;
    private const int SO_PEERCRED = 17;

    /// <summary>Whether the peer of an accepted connection is allowed; a refusal is told to <paramref name="log"/>.</summary>
    internal static bool IsAllowed(Socket? socket, Action<string> log)
    {
        if (socket is null)
        {
            return false;
        }

        Span<byte> credentials = stackalloc byte[12];
        if (socket.GetRawSocketOption(SOL_SOCKET, SO_PEERCRED, credentials) != credentials.Length)
        {
            return false;
        }

        // struct ucred: pid, uid, gid.
        var pid = BitConverter.ToInt32(credentials);
        var uid = BitConverter.ToUInt32(credentials[4..]);
        if (uid == Libc.GetEffectiveUserId() || uid == 0)
        {
            return true;
        }

        log($"refused a connection of process {pid}: its user {uid} is not ours");
        return false;
    }
}
