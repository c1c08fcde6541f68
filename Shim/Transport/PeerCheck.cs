using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport;

/// <summary>
/// Who may connect: our own user and root. The mode of a socket already keeps others out; this holds even if its directory was opened to them.
/// </summary>
internal static class PeerCheck
{
    /// <summary>Whether the peer of an accepted connection is allowed; a refusal is told to <paramref name="log"/>.</summary>
    internal static bool IsAllowed(UnixSocket socket, Action<string> log)
    {
        var peer = UnixSockets.PeerOf(socket.Handle);
        if (peer.User == Libc.GetEffectiveUserId() || peer.User == 0)
        {
            return true;
        }

        log($"refused a connection of process {peer.Pid}: its user {peer.User} is not ours");
        return false;
    }
}
