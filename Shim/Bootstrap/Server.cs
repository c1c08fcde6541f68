using Containerd.Shim.V1;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;
using Shim.Stdio;
using Shim.Tasks;
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

    private readonly Ending _ending;
    private readonly SafeFileHandle _stateLock;
    private GrpcServer? _server;

    private Server(TaskService tasks, Listener listener, SafeFileHandle stateLock, TaskLog log)
    {
        _stateLock = stateLock;
        _tasks = tasks;
        _listener = listener;
        _log = log;
        _ending = new Ending(tasks, EndAsync, log);
    }

    /// <summary>Serves until Shutdown or a signal ends the process.</summary>
    internal static int Run(ServeOptions options)
    {
        var log = new TaskLog(options.Debug);
        ShimProcess.Prepare(log);
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
        reaper.Start();
        log.Info($"shim {Build.Version}, pid {Environment.ProcessId}, serves {listener.Path ?? $"descriptor {options.ListenFd}"}");
        EventLoop.Main.Run();
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
        _server = new GrpcServer(ShimMethods.Of(new ShimGrpcService(_tasks, info, _ending.Begin)), Wire.Options(_log, trim.Worked));
        _ = Task.Run(() => _server.ServeAsync(_listener.Socket, CancellationToken.None));
        _ending.TakeSignals();
        trim.Worked();
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
