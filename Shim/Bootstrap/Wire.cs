using Containerd;
using Shim.Tasks;
using Shim.Transport;
using Shim.Transport.Ttrpc;

namespace Shim.Bootstrap;

/// <summary>What every wire needs of this process.</summary>
internal static class Wire
{
    /// <summary>Only our own user and root may connect; failures have the status of their kind, and those that nobody expects are told to an operator.</summary>
    /// <param name="log">That operator's.</param>
    /// <param name="worked">Told after each call.</param>
    internal static TtrpcServerOptions Options(TaskLog log, Action worked) => new()
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
    };
}
