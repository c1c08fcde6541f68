using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Shim.Tests.Support;

/// <summary>Gives unary calls without a deadline one, so that no test can hang.</summary>
public sealed class DefaultDeadline(TimeSpan deadline) : Interceptor
{
    /// <inheritdoc/>
    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        TRequest request,
        ClientInterceptorContext<TRequest, TResponse> context,
        AsyncUnaryCallContinuation<TRequest, TResponse> continuation)
    {
        ArgumentNullException.ThrowIfNull(continuation);
        if (context.Options.Deadline is null)
        {
            context = new ClientInterceptorContext<TRequest, TResponse>(
                context.Method, context.Host, context.Options.WithDeadline(DateTime.UtcNow + Patience.Of(deadline)));
        }

        return continuation(request, context);
    }
}
