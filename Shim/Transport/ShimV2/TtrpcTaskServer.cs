using Shim.Transport.Ttrpc;

namespace Shim.Transport.ShimV2;

/// <summary>The task API on ttrpc: what containerd prefers, and what costs least. Versions 2 and 3 differ in the name of the service only, and both are always there.</summary>
internal static class TtrpcTaskServer
{
    /// <summary>The names that the service has had.</summary>
    internal static readonly string[] Services = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

    /// <summary>A server of <paramref name="api"/>.</summary>
    internal static TtrpcServer New(TaskApi api, TtrpcServerOptions options)
    {
        var table = new TtrpcMethods();
        foreach (var method in TaskMethods.Of(api))
        {
            foreach (var service in Services)
            {
                table.Unary(service, method.Name, method.Parser, (request, call) => method.Answer(request, call.CancellationToken));
            }
        }

        return new TtrpcServer(table, options);
    }
}
