using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Shim.Transport.Grpc;

/// <summary>
/// Kestrel wakes up once a second for its own timeouts, which a private unix socket does not need and a thousand idle shims cannot
/// afford. There is no switch for it, so it is stopped by reflection; a test notices when a new version has moved it.
/// </summary>
internal static class KestrelHeartbeat
{
    private const BindingFlags AnyInstance = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public;

    /// <summary>Stops the heartbeat of a started server; false when it was not found, which is harmless.</summary>
    [DynamicDependency("_innerKestrelServer", typeof(KestrelServer))]
    [DynamicDependency(DynamicallyAccessedMemberTypes.PublicProperties | DynamicallyAccessedMemberTypes.NonPublicProperties, "Microsoft.AspNetCore.Server.Kestrel.Core.KestrelServerImpl", "Microsoft.AspNetCore.Server.Kestrel.Core")]
    [DynamicDependency(DynamicallyAccessedMemberTypes.PublicProperties, "Microsoft.AspNetCore.Server.Kestrel.Core.Internal.ServiceContext", "Microsoft.AspNetCore.Server.Kestrel.Core")]
    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "The members are kept by the dynamic dependencies above.")]
    internal static bool Stop(KestrelServer server)
    {
        var inner = typeof(KestrelServer).GetField("_innerKestrelServer", AnyInstance)?.GetValue(server);
        var context = inner?.GetType().GetProperty("ServiceContext", AnyInstance)?.GetValue(inner);
        if (context?.GetType().GetProperty("Heartbeat", AnyInstance)?.GetValue(context) is not IDisposable heartbeat)
        {
            return false;
        }

        heartbeat.Dispose();
        return true;
    }
}
