using System.Globalization;
using Containerd;
using Shim.Cgroups;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;
using Shim.Rootfs;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>What a container is made from.</summary>
/// <param name="Id">Its name, for the runtime too.</param>
/// <param name="Bundle">Directory with config.json.</param>
/// <param name="Runtime">Name or path of the runtime; empty is the shim's default.</param>
/// <param name="NoPivot">No pivot_root, for a root file system on a ramdisk.</param>
/// <param name="Streams">Where its init's bytes go.</param>
internal sealed record CreateSpec(string Id, string Bundle, string Runtime, bool NoPivot, StreamAddresses Streams)
{
    /// <summary>Its processes share the session keyring of whoever started the runtime.</summary>
    internal bool NoNewKeyring { get; init; }

    /// <summary>Whom the pipes of its processes are given to, as the host knows him; null is the process's own user.</summary>
    internal (uint User, uint Group)? StreamOwner { get; init; }

    /// <summary>Processes may be added before init has been started.</summary>
    internal bool ExecBeforeStart { get; init; }

    /// <summary>Mounted as the bundle's root file system before the runtime looks at it, and unmounted when the container goes.</summary>
    internal IReadOnlyList<MountSpec> Rootfs { get; init; } = [];

    /// <summary>Its start reads it back from a checkpoint; until then it has no process.</summary>
    internal RestoreSpec? Restore { get; init; }
}

/// <content>How a container comes into being and begins to run.</content>
internal sealed partial class Container
{
    // The name that containerd's shim has for it, in the bundle as there: programs around the runtime read it before they return.
    private const string InitPidName = "init.pid";

    private static readonly TimeSpan s_execveLimit = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_consoleLimit = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Creates the container and leaves its init waiting; one that is to be restored waits without a process, with everything else ready. When this throws,
    /// nothing of it is left.
    /// </summary>
    internal static async Task<Container> CreateAsync(ShimServices services, CreateSpec spec)
    {
        ContainerId.Check(spec.Id);
        var bundle = Bundle.Load(spec.Bundle);

        // The caller's wish wins: true makes a terminal even if the config has none. A config with a terminal has one either way.
        var terminal = spec.Streams.Terminal || bundle.Process.Terminal;
        var runtime = services.Runtime(spec.Runtime);
        var streams = ProcessStreams.Open(spec.Streams with { Terminal = terminal }, services.Streams, spec.Id);
        var footprint = CgroupFootprint.Plan(spec.Id, bundle.CgroupsPath);
        try
        {
            if ((spec.StreamOwner ?? bundle.HostIdentity(bundle.Process.Uid, bundle.Process.Gid)) is var (user, group))
            {
                streams.GiveTo(user, group);
            }

            await streams.StartLoggersAsync(CancellationToken.None).ConfigureAwait(false);
            if (spec.Rootfs.Count > 0)
            {
                await RootfsMounts.MountAsync(services.Reaper, spec.Rootfs, RootfsOf(bundle)).ConfigureAwait(false);
            }

            var directory = terminal == bundle.Process.Terminal
                ? bundle.Directory
                : Bundle.WriteWithTerminal(bundle.Directory, Path.Combine(services.StateDirectory, "bundle"), terminal);
            if (spec.Restore is { } restore)
            {
                return await AwaitRestorationAsync(services, runtime, spec, bundle, new Restoration(restore, directory, spec.NoPivot), terminal, streams).ConfigureAwait(false);
            }

            using var anticipation = services.Reaper.Anticipate();
            var pid = await RunAsync(services, runtime, streams, anticipation, InitPidFile(services), (pidFile, consoleSocket) =>
                RuntimeCommand.Create(spec.Id, directory, pidFile, consoleSocket, spec.NoPivot, Stdio(streams), spec.NoNewKeyring)).ConfigureAwait(false);
            var init = new ManagedProcess(pid, true, bundle.Process with { Terminal = terminal }, streams);
            var (cgroup, arguments) = LookAt(pid, anticipation);
            var container = new Container(services, runtime, spec.Id, bundle, init, cgroup)
            {
                StreamOwner = spec.StreamOwner,
                HasRootfs = spec.Rootfs.Count > 0,
                WaitingInit = arguments,
                ExecBeforeStart = spec.ExecBeforeStart,
            };
            var journaled = container.Append(TaskEventType.Create, init);
            if (bundle.LimitsMemory)
            {
                container.WatchOom();
            }

            container.Adopt(init, anticipation, container.InitEnded);
            await JournaledAsync(journaled).ConfigureAwait(false);
            return container;
        }
        catch (Exception e)
        {
            // "Already exists" is about a container of this runtime that somebody else made: that one is not ours to remove.
            if (e is not TaskException { Kind: ErrorKind.AlreadyExists })
            {
                await RemoveFailedAsync(services, runtime, spec.Id, footprint).ConfigureAwait(false);
            }

            if (spec.Rootfs.Count > 0)
            {
                RootfsMounts.UnmountAll(RootfsOf(bundle));
            }

            streams.Dispose();
            throw;
        }
    }

    /// <summary>Lets the init run. A process that ends at once still makes this succeed, and its exit event follows its start event.</summary>
    internal async Task StartAsync(CancellationToken cancellationToken)
    {
        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, cancellationToken).ConfigureAwait(false);
        if (State == InitState.Restorable)
        {
            await RestoreInTurnAsync().ConfigureAwait(false);
            return;
        }

        lock (_lock)
        {
            _ = InitStates.Next(_state, InitEvent.Start, Id);
            _starting = true;
        }

        var started = false;
        string? failure = null;
        Task journaled = Task.CompletedTask;
        try
        {
            // Not abandoned when init ends: `true` may well have ended before the runtime tells us that it could start it.
            await ConcludeAsync(InitEvent.Start, async () =>
            {
                try
                {
                    await _runtime.RunAsync(RuntimeCommand.Start(Id), CancellationToken.None).ConfigureAwait(false);
                }
                catch (TaskException e) when (!HasExecuted())
                {
                    failure = e.Message;
                    throw;
                }
                catch (TaskException e)
                {
                    // The runtime was killed after its last word to the init: what it was asked for has happened.
                    _services.Log.Error($"the runtime failed, but container {Id} has started: {e.Message}");
                }
            }).ConfigureAwait(false);
            await ExecutedAsync(_init.Pid).ConfigureAwait(false);
            started = true;
        }
        finally
        {
            lock (_lock)
            {
                _starting = false;
                if (started)
                {
                    _init.StartedAt = DateTimeOffset.UtcNow;
                    _state = _state == InitState.Created ? InitState.Running : _state;
                    journaled = Append(TaskEventType.Start, _init);
                }

                if (failure is not null && _init.Exit is { } exit)
                {
                    // It was the runtime's own program still: what it ended with says nothing of the container's.
                    _init.Exit = exit with { Reason = ExitReason.RuntimeError, Message = failure };
                }

                PublishInitExit_NeedsLock();
            }
        }

        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    /// <summary>
    /// The runtime returns a moment before its child executes the program. Until then the process is the runtime's own, whose
    /// handlers swallow signals or make other exit statuses of them (seen with runc on a loaded machine: 1 signal in 80). Who was told
    /// that a process runs may signal it, so he is told when it does. Bounded: an execve can hang on a slow disk.
    /// </summary>
    private static async Task ExecutedAsync(int pid)
    {
        for (var end = Environment.TickCount64 + (long)s_execveLimit.TotalMilliseconds; ProcFs.AwaitsExec(pid) && Environment.TickCount64 < end;)
        {
            await Clock.DelayAsync(TimeSpan.FromMilliseconds(1)).ConfigureAwait(false);
        }
    }

    /// <summary>Whether init is another program now than the runtime's own, which waited for the start. Not known of an adopted one.</summary>
    private bool HasExecuted() =>
        WaitingInit.Length > 0 && ProcFs.Arguments(_init.Pid) is { Length: > 0 } now && !now.SequenceEqual(WaitingInit)

        // Looked at afterwards: one that is on its way out has no arguments any more, but a name, and would look like another program.
        && _init.Identity is { HasExited: false } && !ProcFs.IsExiting(_init.Pid);

    /// <summary>
    /// Runs a verb that makes a process, and returns that process's pid. Streams are connected; on failure no process is left (the
    /// container itself is the caller's to remove).
    /// </summary>
    private static async Task<int> RunAsync(
        ShimServices services,
        OciRuntime runtime,
        ProcessStreams streams,
        Reaper.Anticipation anticipation,
        string pidFile,
        Func<string, string?, RuntimeCommand> command,
        CancellationToken abort = default)
    {
        // One that a shim before us has left would name a process of then.
        File.Delete(pidFile);
        try
        {
            if (streams.HasTerminal)
            {
                using var console = ConsoleSocket.Listen(services.StateDirectory, services.Streams.Loop);
                using var givingUp = new CancellationTokenSource();
                var receiving = console.ReceiveMasterAsync(s_consoleLimit + RuntimeDeadlines.For(RuntimeVerb.Create), givingUp.Token);
                try
                {
                    await runtime.RunAsync(command(pidFile, console.Path), abort).ConfigureAwait(false);

                    // The runtime has sent it before it ended.
                    streams.AttachTerminal(await receiving.WithinAsync(s_consoleLimit, CancellationToken.None).ConfigureAwait(false));
                }
                catch
                {
                    await givingUp.CancelAsync().ConfigureAwait(false);
                    _ = receiving.ContinueWith(
                        static late => late.Result.Dispose(),
                        CancellationToken.None,
                        TaskContinuationOptions.OnlyOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously,
                        TaskScheduler.Default);
                    throw;
                }
            }
            else
            {
                await runtime.RunAsync(command(pidFile, null), abort).ConfigureAwait(false);
            }

            streams.ReleaseChildEnds();
            return ReadPid(pidFile) ?? throw new TaskException(ErrorKind.Internal, $"{runtime.Binary} succeeded and wrote no pid to {pidFile}");
        }
        catch when (ReadPid(pidFile) is { } orphan)
        {
            // The runtime was killed, or the terminal did not come, after the process had begun: nobody will ever know of it.
            using var identity = anticipation.Claim(orphan, static _ => { });
            _ = identity?.Signal(Interop.Libc.SIGKILL);
            throw;
        }
        finally
        {
            File.Delete(pidFile);
        }
    }

    /// <summary>Where init is and what it is called with; nothing when it was collected already, for its pid may be another's by now.</summary>
    private static (Cgroup? Cgroup, string[] Arguments) LookAt(int pid, Reaper.Anticipation anticipation)
    {
        var (cgroup, arguments) = (Cgroup.Of(pid), ProcFs.Arguments(pid));
        return anticipation.HasCollected(pid) ? (null, []) : (cgroup, arguments);
    }

    private static string InitPidFile(ShimServices services) => Path.Combine(services.StateDirectory, InitPidName);

    private static string RootfsOf(Bundle bundle) => Path.Combine(bundle.Directory, "rootfs");

    private static RuntimeStdio Stdio(ProcessStreams streams) => new(streams.ChildStdin, streams.ChildStdout, streams.ChildStderr);

    private static int? ReadPid(string pidFile) =>
        int.TryParse(Fd.ReadText(pidFile), NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && pid > 0 ? pid : null;

    /// <summary>Removes what a failed creation left. Best effort: the caller is told of the failure itself.</summary>
    private static async Task RemoveFailedAsync(ShimServices services, OciRuntime runtime, string id, IReadOnlyList<string> footprint)
    {
        try
        {
            await runtime.RunAsync(RuntimeCommand.Delete(id)).ConfigureAwait(false);
        }
        catch (TaskException e) when (e.Kind == ErrorKind.NotFound)
        {
            // Nothing was left.
        }
        catch (TaskException e)
        {
            services.Log.Error($"cannot remove what the failed creation of {id} left: {e.Message}");
        }

        // A runtime that was killed half-way has no state yet that leads to its cgroup.
        foreach (var left in await CgroupFootprint.RemoveAsync(footprint, EventLoop.Main.Clock).ConfigureAwait(false))
        {
            services.Log.Error($"cannot remove the cgroup {left} of the failed creation of {id}");
        }
    }

    private void Adopt(ManagedProcess process, Reaper.Anticipation anticipation, Action<ChildExit> ended)
    {
        var identity = anticipation.Claim(process.Pid, ended);
        lock (_lock)
        {
            process.Identity = identity;
        }
    }
}
