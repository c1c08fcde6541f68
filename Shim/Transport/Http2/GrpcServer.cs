using Shim.Loops;

namespace Shim.Transport.Http2;

/// <summary>
/// gRPC over HTTP/2 on a unix socket that somebody else made: methods with one request, and with one answer or a stream of them. That is all that a shim
/// has.
/// </summary>
internal sealed class GrpcServer : ConnectionServer
{
    // For large answers, over all connections: as much as one of them may have, and a bit.
    private const long OutgoingBytes = 5 << 20;

    private readonly Dictionary<string, GrpcMethod> _methods = new(StringComparer.Ordinal);

    internal GrpcServer(IEnumerable<GrpcMethod> methods, ServerOptions options)
        : base(options)
    {
        Options = options;
        foreach (var method in methods)
        {
            _methods.Add(method.Path, method);
        }
    }

    internal ServerOptions Options { get; }

    /// <summary>Places for large requests.</summary>
    internal LargeRequests Large { get; } = new();

    /// <summary>Memory for large answers.</summary>
    internal MemoryBudget Outgoing { get; } = new(OutgoingBytes);

    /// <summary>The method of a path; null when there is none.</summary>
    internal GrpcMethod? Find(string path) => _methods.GetValueOrDefault(path);

    private protected override IServerConnection NewConnection(UnixSocket socket) => new GrpcConnection(this, socket);
}
