using System.Net.Sockets;
using System.Reflection;
using Microsoft.Extensions.Hosting.Systemd;
using Shim.Interop;
using Supervisor.Containers;
using Supervisor.Events;
using Supervisor.Shims;

namespace Supervisor.Daemon;

/// <summary>The daemon from its first check to its exit code.</summary>
internal static class DaemonHost
{
    private const int Refused = 125;

    // 022. Children inherit it, and the runtime makes mount points in the container's root file system with it.
    private const uint ChildrensUmask = 0x12;

    /// <summary>The version of this program.</summary>
    internal static string Version { get; } =
        typeof(DaemonHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "";

    /// <summary>Serves until a signal asks to stop; 0 after an orderly end, 125 (and one line on stderr) when it can't start.</summary>
    public static async Task<int> RunAsync(SupervisorOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        try
        {
            if (!Environment.IsPrivilegedProcess)
            {
                throw new StartRefusedException("must be run as root (rootless containers are not supported yet)");
            }

            var settings = Settings.From(options);
            _ = Libc.Umask(ChildrensUmask);

            // Inherited as ignored, it would take the status of every shim from us.
            Libc.SetDefaultDisposition(Libc.SIGCHLD);

            // What a lost shim leaves behind becomes ours, and with it the exit statuses.
            Libc.BecomeSubreaper();
            var root = RootDirectory.Prepare(settings.Root, settings.RuntimeRoot);
            using var rootLock = RootLock.Take(root.Lock, settings.Root);
            await ServeAsync(settings, root, options);
            return 0;
        }
        catch (StartRefusedException e)
        {
            await Console.Error.WriteLineAsync($"supervisor: {e.Message}");
            return Refused;
        }
        catch (Exception e) when (e is IOException or SocketException or InvalidDataException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"supervisor: cannot serve {options.Root}: {e.Message}");
            return Refused;
        }
    }

    private static async Task ServeAsync(Settings settings, RootDirectory root, SupervisorOptions options)
    {
        using var events = EventLog.Open(root.Events);
        using var watcher = new ProcessWatcher();
        await using var app = Hosting.Build(settings, root, events, watcher, options);
        var logger = app.Services.GetRequiredService<ILoggerFactory>().CreateLogger("Supervisor.Daemon");
        foreach (var damage in events.Damage)
        {
            DaemonLog.EventsDamaged(logger, damage);
        }

        PublicSocket.RemoveStale(settings.Socket, logger);
        if (settings.Metrics is UnixDomainSocketEndPoint metrics)
        {
            PublicSocket.RemoveStale(metrics.ToString(), logger);
        }

        await app.Services.GetRequiredService<Recovery>().RunAsync(app.Lifetime.ApplicationStopping);
        app.Lifetime.ApplicationStarted.Register(() =>
        {
            DaemonLog.Serving(logger, Version, Environment.ProcessId, settings.Socket, settings.Root, settings.Runtime, settings.Shim);
            Notify(ServiceState.Ready);
        });
        app.Lifetime.ApplicationStopping.Register(() =>
        {
            DaemonLog.Stopping(logger);
            Notify(ServiceState.Stopping);
        });
        await app.RunAsync();
    }

    private static void Notify(ServiceState state)
    {
        var systemd = new SystemdNotifier();
        if (systemd.IsEnabled)
        {
            systemd.Notify(state);
        }
    }
}
