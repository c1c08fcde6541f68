using Containerd;
using Grpc.Core;
using Supervisor.Containers;
using ShimClient = Containerd.Shim.V1.Shim.ShimClient;

namespace Supervisor.Api;

/// <summary>Calls to a container's shim, or the reason why there is none to call.</summary>
internal static class ContainerCalls
{
    /// <summary>Calls the shim of <paramref name="container"/>; Unavailable when it is lost.</summary>
    internal static Task<TResponse> CallShimAsync<TResponse>(
        this Container container,
        string verb,
        TimeSpan? deadline,
        Func<ShimClient, CallOptions, AsyncUnaryCall<TResponse>> invoke,
        CancellationToken cancellationToken) =>
        container.Link is { } link
            ? link.CallAsync(verb, deadline, invoke, cancellationToken)
            : throw TaskException.Unavailable($"{verb} container {container.Id}: its shim is gone; the container can only be deleted");
}
