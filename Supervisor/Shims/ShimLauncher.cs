using System.Globalization;
using Shim.Interop;
using Shim.Processes;
using Supervisor.Containers;
using Supervisor.Daemon;

namespace Supervisor.Shims;

/// <summary>
/// Starts shims. The supervisor binds the shim's socket and hands it over as descriptor 3: it can be connected to at once, so there
/// is nothing to poll and no moment in which it is missing.
/// </summary>
internal sealed class ShimLauncher(Settings settings, ProcessWatcher watcher)
{
    private const int Backlog = 128;

    /// <summary>The PATH that shims and runtimes get; nothing else of our environment reaches them.</summary>
    internal static string SearchPath { get; } = Environment.GetEnvironmentVariable("PATH") is { Length: > 0 } path
        ? path
        : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Starts the shim of a container whose directory exists. It listens when this returns.</summary>
    internal ShimProcess Launch(ContainerDirectory directory, ContainerRecord record)
    {
        // One that a lost shim has left.
        File.Delete(directory.SocketPath);
        using var listener = UnixSockets.Listen(directory.SocketPath, Backlog);
        using var input = Fd.Open("/dev/null", Libc.O_RDONLY);
        using var log = Fd.Open(directory.ShimLogPath, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_APPEND | Libc.O_NOFOLLOW, 0x180);
        var child = watcher.Spawn(new SpawnRequest
        {
            Path = settings.Shim,
            Arguments = Arguments(directory, record),
            Environment = ShimBirth.EnvironmentWith(SearchPath),
            WorkingDirectory = directory.Path,
            Stdin = input,
            Stdout = log,
            Stderr = log,
            ExtraDescriptors = [listener],
            BlockedSignals = ShimBirth.BlockedSignals,
            NewSession = true,
        });
        return child is var (process, ended) ? ShimProcess.OfChild(process, ended) : throw new InvalidOperationException("the shim was reaped by somebody else");
    }

    private string[] Arguments(ContainerDirectory directory, ContainerRecord record)
    {
        List<string> arguments =
        [
            settings.Shim, "serve", "--listen-fd", "3", "--state", directory.Path,
            "--runtime", record.Runtime, "--runtime-root", record.RuntimeRoot,
            "--drain-timeout", settings.DrainSeconds.ToString(CultureInfo.InvariantCulture),
        ];
        foreach (var allowed in LogDirectories())
        {
            arguments.AddRange(["--log-dir", allowed]);
        }

        foreach (var allowed in settings.LoggerDirectories)
        {
            arguments.AddRange(["--logger-dir", allowed]);
        }

        if (settings.Debug)
        {
            arguments.Add("--debug");
        }

        return [.. arguments];
    }

    /// <summary>
    /// Where the files of outputs may lie. Beside the socket is where our own command line puts them for a detached container: only root gets
    /// there, so whoever restricts the others does not mean this one.
    /// </summary>
    private IEnumerable<string> LogDirectories() =>
        settings.LogDirectories.Count == 0 ? [] : settings.LogDirectories.Append(Path.Join(Path.GetDirectoryName(settings.Socket), "b"));
}
