using System.Runtime.InteropServices;
using Containerd.Shim.V1;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Processes;
using Shim.Stdio;
using Shim.Tasks;
using Shim.Transport;
using Shim.Transport.Grpc;
using Shim.Transport.Http2;

namespace Shim.Bootstrap;

/// <summary>`shim serve`: puts the process into order, builds the rooms on each other, and becomes the reaper.</summary>
internal sealed class Server
{
    private static readonly TimeSpan s_closeGrace = TimeSpan.FromSeconds(1);

    // Of a shim that nobody but a person with a terminal has started: no supervisor will come and say that it has recorded the events.
    private const long JournalSizeAlone = 1024 * 1024;

    private readonly TaskService _tasks;
    private readonly Listener _listener;
    private readonly TaskLog _log;

    // Held here, because a registration that is collected is one that ends.
    private readonly List<PosixSignalRegistration> _registrations = [];

    private readonly SafeFileHandle _stateLock;
    private GrpcServer? _server;
    private int _ending;

    private Server(TaskService tasks, Listener listener, SafeFileHandle stateLock, TaskLog log)
    {
        _stateLock = stateLock;
        _tasks = tasks;
        _listener = listener;
        _log = log;
    }

    /// <summary>Serves until Shutdown or a signal ends the process.</summary>
    internal static int Run(ServeOptions options)
    {
        ShimProcess.Prepare();
        var log = new TaskLog(options.Debug);
        var state = Path.GetFullPath(options.StateDirectory ?? ".");
        Directory.CreateDirectory(state, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var listener = Listener.Open(options);
        var stateLock = LockDirectory(state, listener);
        var reaper = new Reaper(e => log.Error($"an exit could not be handled: {e}"));
        var trim = new MemoryTrim();
        var streams = new StreamServices(reaper, log.Error)
        {
            LogDirectories = new LogDirectories(options.LogDirectories),
            LoggerDirectories = new LoggerDirectories(options.LoggerDirectories),
            Released = trim.Worked,
        };
        var services = new ShimServices(
            reaper,
            streams,
            Journal.Open(Path.Combine(state, "journal"), log, options.ListenFd is null ? JournalSizeAlone : null),
            log,
            state,
            options.Runtime,
            options.RuntimeRoot)
        { DrainLimit = options.DrainLimit };
        var server = new Server(new TaskService(services), listener, stateLock, log);
        server.Start(options, state, trim);
        log.Info($"shim {Build.Version}, pid {Environment.ProcessId}, serves {listener.Path ?? $"descriptor {options.ListenFd}"}");
        reaper.Run();
        return 0;
    }

    /// <summary>Two shims with one journal would mix their numbers. The lock is on the directory itself and ends with this process.</summary>
    private static SafeFileHandle LockDirectory(string directory, Listener listener)
    {
        var handle = Fd.Open(directory, Libc.O_RDONLY | Libc.O_DIRECTORY);
        if (Libc.Flock(Fd.Number(handle), Libc.LOCK_EX | Libc.LOCK_NB) == 0)
        {
            return handle;
        }

        handle.Dispose();
        listener.Remove();
        throw new InvalidOperationException($"another shim uses the state directory {directory}");
    }

    private void Start(ServeOptions options, string state, MemoryTrim trim)
    {
        var info = new InfoResponse
        {
            Version = Build.Version,
            Pid = (uint)Environment.ProcessId,
            StartedAt = Timestamp.FromDateTime(DateTime.UtcNow),
            StateDirectory = state,
            Runtime = options.Runtime,
            RuntimeRoot = options.RuntimeRoot ?? "",
        };
        var service = new ShimGrpcService(_tasks, info, () => Begin(EndAsync));
        _server = new GrpcServer(ShimMethods.Of(service), new ServerOptions
        {
            Log = _log.Error,
            Accept = socket => PeerCheck.IsAllowed(socket, _log.Error),
            Worked = trim.Worked,
        });
        _ = Task.Run(() => _server.ServeAsync(_listener.Socket, CancellationToken.None));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, StopOn));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, StopOn));

        // The terminal of whoever started this by hand may go; the container must not lose its parent to that.
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, static context => context.Cancel = true));
        trim.Worked();
    }

    private void StopOn(PosixSignalContext context)
    {
        context.Cancel = true;
        Begin(StopAsync);
    }

    private void Begin(Func<Task> ending)
    {
        if (Interlocked.Exchange(ref _ending, 1) == 0)
        {
            _ = Task.Run(ending);
        }
    }

    /// <summary>Told to end by a signal: the container goes first, because without a shim nobody would be its parent.</summary>
    private async Task StopAsync()
    {
        await OrderlyStop.RunAsync(_tasks, _log).ConfigureAwait(false);
        await EndAsync().ConfigureAwait(false);
    }

    private async Task EndAsync()
    {
        // Ends the streams of events, so that nothing but the answer to Shutdown is still to go out.
        _tasks.Services.Journal.Dispose();
        await _server!.StopAsync(s_closeGrace).ConfigureAwait(false);
        _listener.Remove();
        _stateLock.Dispose();
        _log.Info("ends");
        Environment.Exit(0);
    }
}
