using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Supervisor.Daemon;

/// <summary>
/// The second listener: plain HTTP with one page, /metrics. What comes in there never reaches the API, and the API's socket never
/// serves metrics.
/// </summary>
internal static class MetricsEndpoint
{
    /// <summary>Marks the connections of this listener.</summary>
    internal static void UseMetricsOnly(this ListenOptions options)
    {
        options.Protocols = HttpProtocols.Http1;
        options.Use(next => connection =>
        {
            connection.Features.Set(new MetricsConnection());
            return next(connection);
        });
    }

    /// <summary>Answers marked connections, and only those.</summary>
    internal static void MapMetricsConnections(this IApplicationBuilder app, Metrics metrics) => app.Use(async (context, next) =>
    {
        if (context.Features.Get<MetricsConnection>() is null)
        {
            await next(context);
            return;
        }

        if (context.Request.Path != "/metrics" || !HttpMethods.IsGet(context.Request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }

        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        await context.Response.WriteAsync(metrics.Render(), context.RequestAborted);
    });

    private sealed class MetricsConnection;
}
