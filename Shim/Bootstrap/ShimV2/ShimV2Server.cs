using System.Diagnostics.CodeAnalysis;
using Shim.Loops;
using Shim.Processes;
using Shim.Stdio;
using Shim.Tasks;
using Shim.Transport;
using Shim.Transport.ShimV2;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// A shim that containerd drives: the same domain as under our own supervisor, with the task API on ttrpc (or gRPC) before it and containerd's event service
/// behind it. Started by <see cref="StartAction"/>, with the listening socket as descriptor 3.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "It lives as long as the process.")]
internal sealed class ShimV2Server
{
    private const int ListenDescriptor = 3;
    private static readonly TimeSpan s_answerGrace = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_eventGrace = TimeSpan.FromSeconds(5);

    private readonly TaskService _tasks = new();
    private readonly TaskLog _log;
    private readonly string _socketPath;
    private readonly EventForwarder _events;

    private readonly Ending _ending;
    private ConnectionServer? _server;

    private ShimV2Server(Daemon daemon, string socketPath, TaskLog log)
    {
        (_log, _socketPath) = (log, socketPath);
        _events = new EventForwarder(SinkOf(daemon), daemon.Namespace, log);
        _ending = new Ending(_tasks, EndAsync, log);
    }

    /// <summary>Serves until Shutdown or a signal ends the process.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="protocol">ttrpc or grpc.</param>
    internal static int Run(ShimArguments arguments, string protocol)
    {
        var daemon = Daemon.From(arguments);
        var log = new TaskLog(arguments.Debug);
        ShimProcess.Prepare(log);
        var listener = Listener.Inherit(ListenDescriptor)
            ?? throw new FormatException("there is no listening socket as descriptor 3: containerd calls start, which makes it");

        var server = new ShimV2Server(daemon, ShimSocket.PathOf(arguments.Socket), log);
        var reaper = new Reaper(e => log.Error($"an exit could not be handled: {e}"));
        server.Start(daemon, protocol, reaper, listener, log);
        log.Info($"shim {Build.Version}, pid {Environment.ProcessId}, serves {daemon.Namespace}/{daemon.Id} by {protocol}");
        EventLoop.Main.Run();
        return 0;
    }

    private static IEventSink? SinkOf(Daemon daemon) =>
        daemon.TtrpcAddress.Length > 0 ? new TtrpcEventSink(ShimSocket.PathOf(daemon.TtrpcAddress))
        : daemon.GrpcAddress.Length > 0 ? new GrpcEventSink(ShimSocket.PathOf(daemon.GrpcAddress))
        : null;

    private void Start(Daemon daemon, string protocol, Reaper reaper, Listener listener, TaskLog log)
    {
        var trim = new MemoryTrim();

        // Who may create containers in containerd is root here: its shims run any logger. Ours still wants one that only root could have changed.
        var streams = new StreamServices(reaper, log.Error) { Namespace = daemon.Namespace, Released = trim.Worked, LoggerDirectories = new(["/"]) };
        var api = new TaskApi(_tasks, new ContainerHomes(reaper, streams, log, daemon.Namespace), _events, _ending.Begin);
        var options = Wire.Options(log, trim.Worked);
        _server = protocol == "grpc" ? GrpcTaskServer.New(api, options) : TtrpcTaskServer.New(api, options);
        _ = Task.Run(() => _server.ServeAsync(listener.Socket, CancellationToken.None));
        _ending.TakeSignals();
        reaper.Start();
        trim.Worked();
    }

    /// <summary>
    /// Nobody finds this shim any more; then the last answers go out, and the last events. The name goes first, while it is certainly ours: a successor
    /// takes it as soon as nobody listens.
    /// </summary>
    private async Task EndAsync()
    {
        try
        {
            if (_socketPath.Length > 0)
            {
                File.Delete(_socketPath);
            }

            await _server!.StopAsync(s_answerGrace).ConfigureAwait(false);
            await _events.DrainAsync(s_eventGrace).ConfigureAwait(false);
            _log.Info("ends");
        }
        finally
        {
            Environment.Exit(0);
        }
    }
}
