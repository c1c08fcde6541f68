using System.Diagnostics;
using Containerd;
using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Shim.Tasks;

namespace Shim.Transport.Grpc;

/// <summary>
/// gRPC on an inherited unix listener: Kestrel without a host, without routing, and with services that are known at compile time.
/// A web application would cost twice the memory, twice the start time, and wake up several times a second.
/// </summary>
internal static class ShimServer
{
    /// <summary>Serves <paramref name="service"/> on a listening socket, which the server owns from now on.</summary>
    internal static async Task<KestrelServer> StartAsync(ulong listener, ShimGrpcService service, TaskLog log)
    {
        var services = BuildServices(service);
        return await BareKestrel.StartAsync(listener, new GrpcApplication(Endpoints(services), services), services, log).ConfigureAwait(false);
    }

    private static ServiceProvider BuildServices(ShimGrpcService service)
    {
        var services = new ServiceCollection();
        services.AddSingleton<ILoggerFactory>(NullLoggerFactory.Instance);
        services.AddSingleton(typeof(ILogger<>), typeof(NullLogger<>));
        services.AddSingleton<IHostApplicationLifetime, NoLifetime>();
        var diagnostics = new DiagnosticListener("shim");
        services.AddSingleton(diagnostics);
        services.AddSingleton<DiagnosticSource>(diagnostics);
        services.AddOptions();
        services.AddRoutingCore();
        services.AddGrpc();

        // Open generics would be closed at run time, which is slow and large under NativeAOT: say the closed ones.
        foreach (var open in services.Where(d => d.ServiceType == typeof(IServiceMethodProvider<>) || d.ServiceType == typeof(IGrpcServiceActivator<>)).ToList())
        {
            services.Remove(open);
        }

        IServiceMethodProvider<ShimGrpcService> methods = new ShimMethods();
        services.AddSingleton(methods);
        services.AddSingleton<IEnumerable<IServiceMethodProvider<ShimGrpcService>>>([methods]);
        services.AddSingleton<IGrpcServiceActivator<ShimGrpcService>>(new ShimServiceActivator(service));
        services.AddSingleton(Options.Create(new GrpcServiceOptions { MaxReceiveMessageSize = UnixChannel.MaxMessageBytes, CompressionProviders = [] }));
        services.AddSingleton(Options.Create(new GrpcServiceOptions<ShimGrpcService> { MaxReceiveMessageSize = UnixChannel.MaxMessageBytes }));
        services.AddSingleton(Options.Create(new RouteHandlerOptions()));
        services.AddSingleton(Options.Create(new RouteOptions()));
        return services.BuildServiceProvider();
    }

    private static Dictionary<string, RouteEndpoint> Endpoints(IServiceProvider services)
    {
        var builder = new EndpointBuilder(services);
        builder.MapGrpcService<ShimGrpcService>();

        // Besides the methods there are catch-all patterns for unknown ones; the application answers those itself.
        return builder.DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
            .Where(endpoint => endpoint.RequestDelegate is not null && !endpoint.RoutePattern.RawText!.Contains('{'))
            .ToDictionary(endpoint => endpoint.RoutePattern.RawText!);
    }

    private sealed class EndpointBuilder(IServiceProvider services) : IEndpointRouteBuilder
    {
        public IServiceProvider ServiceProvider => services;

        public ICollection<EndpointDataSource> DataSources { get; } = [];

        public IApplicationBuilder CreateApplicationBuilder() => new ApplicationBuilder(services);
    }

    private sealed class NoLifetime : IHostApplicationLifetime
    {
        public CancellationToken ApplicationStarted => default;

        public CancellationToken ApplicationStopping => default;

        public CancellationToken ApplicationStopped => default;

        public void StopApplication()
        {
        }
    }
}
