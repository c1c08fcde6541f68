using Containerd;

namespace Shim.Bootstrap.ShimV2;

/// <summary>The daemon that a shim works for, and whom it works for there.</summary>
/// <param name="Id">The container's or sandbox's id.</param>
/// <param name="Namespace">containerd's namespace.</param>
/// <param name="GrpcAddress">The daemon's gRPC socket, as it gives it.</param>
/// <param name="TtrpcAddress">Its ttrpc socket; empty when it has none.</param>
internal sealed record Daemon(string Id, string Namespace, string GrpcAddress, string TtrpcAddress)
{
    /// <summary>From the command line and the environment, or from bootstrap parameters, which count more. InvalidArgument for a bad id.</summary>
    internal static Daemon From(ShimArguments arguments, StartRequest? request = null)
    {
        var parameters = request?.Parameters;
        var daemon = new Daemon(
            First(parameters?.InstanceId, arguments.Id),
            First(parameters?.Namespace, arguments.Namespace, Environment.GetEnvironmentVariable("NAMESPACE")),
            First(parameters?.ContainerdGrpcAddress, arguments.Address, Environment.GetEnvironmentVariable("GRPC_ADDRESS")),
            First(parameters?.ContainerdTtrpcAddress, Environment.GetEnvironmentVariable("TTRPC_ADDRESS")));
        ContainerId.Check(daemon.Id);
        return daemon.Namespace.Length > 0 && !daemon.Namespace.Contains('/') && daemon.Namespace is not ("." or "..")
            ? daemon
            : throw TaskException.Invalid($"the namespace \"{daemon.Namespace}\" is empty or no name");
    }

    private static string First(params ReadOnlySpan<string?> texts)
    {
        foreach (var text in texts)
        {
            if (text is { Length: > 0 })
            {
                return text;
            }
        }

        return "";
    }
}
