using Containerd;
using Containerd.V1;
using Grpc.Health.V1;
using Grpc.Reflection;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Console;
using Supervisor.Api;
using Supervisor.Containers;
using Supervisor.Events;
using Supervisor.Shims;
using GrpcDescriptor = Google.Protobuf.Reflection.ServiceDescriptor;

namespace Supervisor.Daemon;

/// <summary>
/// Puts the daemon together. From an empty builder: nothing is read from appsettings files, command lines or the environment, so
/// nobody can make it listen elsewhere.
/// </summary>
internal static class Hosting
{
    private const int MaxStreamsPerConnection = 4096;
    private static readonly TimeSpan s_forever = TimeSpan.FromDays(1000);
    private static readonly TimeSpan s_stopLimit = TimeSpan.FromSeconds(3);

    // Health is asked for, not published. The longest period that a timer takes.
    private static readonly TimeSpan s_never = TimeSpan.FromDays(40);

    private static readonly GrpcDescriptor[] s_descriptors =
        [ExecutionService.Descriptor, SupervisorService.Descriptor, Health.Descriptor];

    /// <summary>The application, ready to run.</summary>
    internal static WebApplication Build(
        Settings settings, RootDirectory root, EventLog events, ProcessWatcher watcher, SupervisorOptions options)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "supervisor" });
        AddLogging(builder.Logging, options);
        builder.WebHost.UseKestrelCore();
        builder.Services.AddSingleton<AcceptPause>(Accepting).Replace(ServiceDescriptor.Singleton<IConnectionListenerFactory>(services =>
            new PatientListenerFactory(PublicSocket.Bind, services.GetRequiredService<AcceptPause>(), services.GetRequiredService<ILoggerFactory>())));
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = s_stopLimit);
        builder.Services.Configure<ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);
        builder.Services.AddSingleton(settings).AddSingleton(root).AddSingleton(events).AddSingleton(watcher)
            .AddSingleton<ContainerRegistry>().AddSingleton<Metrics>().AddSingleton<Degradation>().AddSingleton<LostRecord>()
            .AddSingleton<ShimLauncher>().AddSingleton<RuntimeCommand>()
            .AddSingleton<StrayShims>().AddSingleton<Remains>().AddSingleton<Adoption>().AddSingleton<Removal>().AddSingleton<Creation>().AddSingleton<Recovery>()
            .AddSingleton<ExecutionApi>().AddSingleton<SupervisorApi>().AddSingleton<CallInterceptor>();
        AddGrpc(builder.Services);
        builder.WebHost.ConfigureKestrel((_, kestrel) => Listen(kestrel, settings));

        var app = builder.Build();
        app.MapMetricsConnections(app.Services.GetRequiredService<Metrics>());
        app.MapGrpcService<ExecutionApi>();
        app.MapGrpcService<SupervisorApi>();
        app.MapGrpcHealthChecksService();
        app.MapGrpcService<ReflectionServiceImpl>();
        app.MapGrpcService<ReflectionV1ServiceImpl>();
        return app;
    }

    private static AcceptPause Accepting(IServiceProvider services)
    {
        var logger = services.GetRequiredService<ILoggerFactory>().CreateLogger("Supervisor.Daemon");
        return new AcceptPause(reason => DaemonLog.AcceptPaused(logger, reason), () => DaemonLog.AcceptResumed(logger));
    }

    private static void AddGrpc(IServiceCollection services)
    {
        services.AddRoutingCore();
        services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = UnixChannel.MaxMessageBytes;
            grpc.MaxSendMessageSize = UnixChannel.MaxMessageBytes;
            grpc.Interceptors.Add<CallInterceptor>();
        });
        services.AddGrpcHealthChecks(health =>
        {
            foreach (var descriptor in s_descriptors)
            {
                health.Services.Map(descriptor.FullName, _ => true);
            }
        }).AddCheck("supervisor", () => HealthCheckResult.Healthy());
        services.Configure<HealthCheckPublisherOptions>(publisher => publisher.Delay = publisher.Period = s_never);

        // With explicit descriptors: finding them by reflection, as the package's own set-up does, is what trimming takes away.
        services.AddSingleton(new ReflectionServiceImpl(s_descriptors)).AddSingleton(new ReflectionV1ServiceImpl(s_descriptors));
    }

    private static void Listen(KestrelServerOptions kestrel, Settings settings)
    {
        kestrel.AddServerHeader = false;

        // A reader of events that pauses for an hour is slow, not hostile.
        kestrel.Limits.MinResponseDataRate = null;
        kestrel.Limits.MinRequestBodyDataRate = null;

        // A client may have nothing to say for hours. A connection that is closed then costs him his next call, if that is on its way in the same moment: after
        // 130 s by default, or when this process was stopped for longer. A peer on this machine that is gone shows without it. A number, because Kestrel adds
        // an infinite one to its clock, and finds the sum in the past.
        kestrel.Limits.KeepAliveTimeout = s_forever;
        kestrel.Limits.Http2.MaxStreamsPerConnection = MaxStreamsPerConnection;
        var logger = kestrel.ApplicationServices.GetRequiredService<ILoggerFactory>().CreateLogger("Supervisor.Daemon");
        kestrel.ListenUnixSocket(settings.Socket, listener =>
        {
            listener.Protocols = HttpProtocols.Http2;
            listener.UsePeerCheck(logger);
        });
        if (settings.Metrics is { } metrics)
        {
            kestrel.Listen(metrics, MetricsEndpoint.UseMetricsOnly);
        }
    }

    private static void AddLogging(ILoggingBuilder logging, SupervisorOptions options)
    {
        logging.SetMinimumLevel(options.LogLevel);

        // The libraries below us speak only of trouble, unless everything was asked for.
        var libraries = options.LogLevel == LogLevel.Trace ? LogLevel.Trace : (LogLevel)Math.Max((int)options.LogLevel, (int)LogLevel.Warning);
        logging.AddFilter("Microsoft", libraries).AddFilter("Grpc", libraries);

        // Why it did not start is told once, in one line, by who gives up.
        logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        const string Timestamp = "yyyy-MM-ddTHH:mm:ss.fffZ ";
        if (options.LogFormat == LogFormat.Json)
        {
            logging.AddJsonConsole(json =>
            {
                json.UseUtcTimestamp = true;
                json.TimestampFormat = Timestamp.TrimEnd();
            });
        }
        else
        {
            logging.AddSimpleConsole(text =>
            {
                text.SingleLine = true;
                text.UseUtcTimestamp = true;
                text.TimestampFormat = Timestamp;
                text.ColorBehavior = LoggerColorBehavior.Disabled;
            });
        }

        logging.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
