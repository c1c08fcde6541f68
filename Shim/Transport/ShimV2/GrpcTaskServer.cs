using Shim.Transport.Http2;

namespace Shim.Transport.ShimV2;

/// <summary>The task API on gRPC, version 3, for who wants that rather than ttrpc.</summary>
internal static class GrpcTaskServer
{
    private const string Service = "/containerd.task.v3.Task/";

    /// <summary>A server of <paramref name="api"/>.</summary>
    internal static GrpcServer New(TaskApi api, ServerOptions options) => new(
        TaskMethods.Of(api).Select(method => new GrpcMethod(
            Service + method.Name, method.Parser, async (request, call) => await method.Answer(request, call.CancellationToken).ConfigureAwait(false))),
        options);
}
