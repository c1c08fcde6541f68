using Containerd;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Supervisor.Daemon;

namespace Supervisor.Api;

/// <summary>Around every call: exceptions become status codes by the one table, calls are counted, and what changes processes is audited.</summary>
internal sealed class CallInterceptor(Metrics metrics, ILogger<CallInterceptor> logger) : Interceptor
{
    /// <inheritdoc/>
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            var response = await continuation(request, context);
            Finish(request, context, StatusCode.OK);
            return response;
        }
        catch (Exception e)
        {
            throw Failed(request, context, e);
        }
    }

    /// <inheritdoc/>
    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request,
        IServerStreamWriter<TResponse> responseStream,
        ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responseStream, context);
            Finish(request, context, StatusCode.OK);
        }
        catch (Exception e)
        {
            throw Failed(request, context, e);
        }
    }

    private RpcException Failed<TRequest>(TRequest request, ServerCallContext context, Exception exception)
        where TRequest : class
    {
        var status = ErrorKinds.ToStatus(exception);
        if (ErrorKinds.IsExpected(exception))
        {
            ApiLog.Refused(logger, context.Method, status.StatusCode, status.Detail);
        }
        else
        {
            ApiLog.Failed(logger, context.Method, exception);
        }

        Finish(request, context, status.StatusCode);
        return new RpcException(new Status(status.StatusCode, status.Detail));
    }

    private void Finish<TRequest>(TRequest request, ServerCallContext context, StatusCode code)
        where TRequest : class
    {
        metrics.CountCall(context.Method, code);
        if (Audit.Describe(request) is { } act)
        {
            var peer = context.GetHttpContext().Features.Get<PeerFeature>()?.Peer ?? default;
            ApiLog.Audit(logger, act.Verb, act.ContainerId, act.Detail, peer.Uid, peer.Pid, code);
        }
    }
}
