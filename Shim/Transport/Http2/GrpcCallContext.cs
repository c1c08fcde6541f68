using Grpc.Core;

namespace Shim.Transport.Http2;

/// <summary>What the generated service classes see of a call. Headers are not kept: no method of ours looks at them.</summary>
internal sealed class GrpcCallContext(GrpcCall call, string method) : ServerCallContext
{
    private Metadata? _trailers;

    protected override string MethodCore => method;

    protected override string HostCore => "";

    protected override string PeerCore => "unix:";

    protected override DateTime DeadlineCore => call.Deadline;

    protected override Metadata RequestHeadersCore => Metadata.Empty;

    protected override CancellationToken CancellationTokenCore => call.CancellationToken;

    protected override Metadata ResponseTrailersCore => _trailers ??= [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore => new(null, []);

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) => throw new NotSupportedException();

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => throw new NotSupportedException();
}
