using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Shim.Transport.Grpc;

/// <summary>Finds the endpoint of a request by its path. That is all the routing that gRPC needs.</summary>
internal sealed class GrpcApplication(Dictionary<string, RouteEndpoint> endpoints, IServiceProvider services) : IHttpApplication<HttpContext>
{
    private const string Unimplemented = "12";

    private readonly RequestBudget _budget = new();

    /// <inheritdoc/>
    public HttpContext CreateContext(IFeatureCollection contextFeatures)
    {
        var scope = services.CreateScope();
        var context = new DefaultHttpContext(contextFeatures) { RequestServices = scope.ServiceProvider };
        context.Items[typeof(IServiceScope)] = scope;
        return context;
    }

    /// <inheritdoc/>
    public Task ProcessRequestAsync(HttpContext context)
    {
        if (endpoints.TryGetValue(context.Request.Path.Value ?? "", out var endpoint))
        {
            context.SetEndpoint(endpoint);
            return CallAsync(endpoint.RequestDelegate!, context);
        }

        // What gRPC expects for a method that the server does not have: headers only, HTTP 200.
        context.Response.ContentType = "application/grpc";
        context.Response.Headers["grpc-status"] = Unimplemented;
        context.Response.Headers["grpc-message"] = $"unknown method {Uri.EscapeDataString(context.Request.Path.Value ?? "")}";
        return Task.CompletedTask;
    }

    private async Task CallAsync(RequestDelegate call, HttpContext context)
    {
        using var body = _budget.Apply(context.Features, context.Request.BodyReader);
        await call(context).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void DisposeContext(HttpContext context, Exception? exception) => (context.Items[typeof(IServiceScope)] as IDisposable)?.Dispose();
}
