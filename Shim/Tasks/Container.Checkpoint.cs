using Containerd;
using Shim.Cgroups;
using Shim.Processes;
using Shim.Rootfs;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <content>To disk and back, by CRIU, which only the runtime calls.</content>
internal sealed partial class Container
{
    private const string Criu = "criu";

    // Null unless it was created to be restored.
    private Restoration? _restoration;

    /// <summary>
    /// Writes the container to disk through the runtime and CRIU; with <see cref="CheckpointSpec.Exit"/> its processes end with it.
    /// FailedPrecondition, in their words, where the kernel or CRIU cannot; the container goes on then as it was.
    /// </summary>
    internal async Task CheckpointAsync(CheckpointSpec spec, CancellationToken cancellationToken)
    {
        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, cancellationToken).ConfigureAwait(false);
        Require(InitEvent.Checkpoint);
        if (!Path.IsPathFullyQualified(spec.ImagePath) || spec.ImagePath.Contains('\0'))
        {
            throw TaskException.Invalid($"cannot checkpoint container {Id}: \"{spec.ImagePath}\" is not an absolute path for the images");
        }

        var isNew = !Directory.Exists(spec.ImagePath);
        try
        {
            await DumpInTurnAsync(spec).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            if (isNew && State is (InitState.Running or InitState.Paused) && Directory.Exists(spec.ImagePath))
            {
                // Half an image looks like a whole one. But where the container has ended over it, it may be all that is left.
                Directory.Delete(spec.ImagePath, recursive: true);
            }

            throw e is IOException or UnauthorizedAccessException ? new TaskException(ErrorKind.Precondition, $"cannot checkpoint container {Id}: {e.Message}", e) : e;
        }

        Task journaled;
        lock (_lock)
        {
            journaled = _services.Journal.Append(new TaskEvent(TaskEventType.Checkpoint, Id, _init.Pid, true) { Checkpoint = spec.ImagePath });
        }

        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    private async Task DumpInTurnAsync(CheckpointSpec spec)
    {
        Directory.CreateDirectory(spec.ImagePath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        using var work = CriuWork.Open(spec.WorkPath, _services.StateDirectory, "dump.log");
        var notes = new CheckpointNotes
        {
            Streams = CriuStreams.NamesOf(_init.Pid),
            OpenTcp = spec.OpenTcp,
            ExternalUnixSockets = spec.ExternalUnixSockets,
            Terminal = spec.Terminal,
            FileLocks = spec.FileLocks,
        };
        using var config = CriuStreams.ConfigureDump(notes.Streams);

        // Before the dump: with it the container may end, and then nothing may fail any more.
        notes.Write(spec.ImagePath);
        try
        {
            // Not abandoned when init ends: a checkpoint may well end it.
            await ConcludeAsync(
                InitEvent.Checkpoint,
                () => _runtime.RunAsync(RuntimeCommand.Checkpoint(Id, spec, work.Directory, OciRuntime.PathOf(config)), CancellationToken.None)).ConfigureAwait(false);
        }
        catch (TaskException e)
        {
            if (State == InitState.Running)
            {
                // Killed half-way it may have frozen some or all.
                _cgroup?.Thaw();
            }

            if (e.Kind is ErrorKind.RuntimeFailed or ErrorKind.InvalidArgument)
            {
                throw new TaskException(ErrorKind.Precondition, $"cannot checkpoint container {Id}: {work.Explain(e.Message)}", e);
            }

            throw;
        }
    }

    /// <summary>A container whose start will read it back.</summary>
    private static async Task<Container> AwaitRestorationAsync(
        ShimServices services, OciRuntime runtime, CreateSpec spec, Bundle bundle, Restoration restoration, bool terminal, ProcessStreams streams)
    {
        var image = restoration.Spec.ImagePath;
        if (SearchPath.Find(Criu) is null)
        {
            throw TaskException.Precondition($"cannot restore container {spec.Id} from {image}: CRIU is not installed");
        }

        if (!Path.IsPathFullyQualified(image) || !Directory.Exists(image))
        {
            throw TaskException.Invalid($"cannot restore container {spec.Id}: there is no directory {image}");
        }

        var container = new Container(services, runtime, spec.Id, bundle, new ManagedProcess(0, true, bundle.Process with { Terminal = terminal }, streams), null)
        {
            StreamOwner = spec.StreamOwner,
            HasRootfs = spec.Rootfs.Count > 0,
            ExecBeforeStart = spec.ExecBeforeStart,
        };
        (container._state, container._restoration) = (InitState.Restorable, restoration);
        await JournaledAsync(container.Append(TaskEventType.Create, container._init)).ConfigureAwait(false);
        return container;
    }

    /// <summary>
    /// Reads the container back; it runs then. When this throws, nothing of it is left but what its creation has made: it can be tried again, or deleted.
    /// </summary>
    private async Task RestoreInTurnAsync()
    {
        var footprint = CgroupFootprint.Plan(Id, _bundle.CgroupsPath);
        try
        {
            await ReadBackAsync(_restoration!).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // As with a creation: that one is somebody else's.
            if (e is not TaskException { Kind: ErrorKind.AlreadyExists })
            {
                if (_services.RuntimeRoot is { } root)
                {
                    // runc shows CRIU the root file system there, and cannot undo that when it is killed.
                    RootfsMounts.UnmountAll(Path.Combine(root, Id, "criu-root"));
                }

                await RemoveFailedAsync(_services, _runtime, Id, footprint).ConfigureAwait(false);
            }

            throw e is IOException or UnauthorizedAccessException ? new TaskException(ErrorKind.Precondition, $"cannot restore container {Id}: {e.Message}", e) : e;
        }

        if (_bundle.LimitsMemory)
        {
            WatchOom();
        }
    }

    private async Task ReadBackAsync(Restoration restoration)
    {
        var (spec, directory, noPivot) = restoration;
        var notes = CheckpointNotes.Read(spec.ImagePath);
        using var work = CriuWork.Open(spec.WorkPath, _services.StateDirectory, "restore.log");
        using var config = CriuStreams.ConfigureRestoration(notes.Streams, CgroupFootprint.UnifiedPathOf(Id, _bundle.CgroupsPath, _services.SystemdCgroup));
        using var anticipation = _services.Reaper.Anticipate();
        int pid;
        _init.Streams.UnwatchStdin();
        try
        {
            pid = await RunAsync(_services, _runtime, _init.Streams, anticipation, InitPidFile(_services), (pidFile, consoleSocket) => RuntimeCommand.Restore(
                Id, directory, pidFile, consoleSocket, noPivot, Stdio(_init.Streams), spec.ImagePath, notes, work.Directory, OciRuntime.PathOf(config))).ConfigureAwait(false);
        }
        catch (TaskException e) when (e.Kind is ErrorKind.RuntimeFailed or ErrorKind.InvalidArgument)
        {
            throw new TaskException(ErrorKind.Precondition, $"cannot restore container {Id}: {work.Explain(e.Message)}", e);
        }
        finally
        {
            _init.Streams.WatchStdin();
        }

        var (cgroup, _) = LookAt(pid, anticipation);
        Task journaled;
        lock (_lock)
        {
            (_init.Pid, _cgroup, _oom, _ownPidNamespace) = (pid, cgroup, new OomKills(cgroup), HasOwnPidNamespace(pid));
            _init.StartedAt = DateTimeOffset.UtcNow;
            _state = InitStates.Next(_state, InitEvent.Start, Id);
            journaled = Append(TaskEventType.Start, _init, appears: true);
        }

        // After the start event, so that an exit that already happened comes behind it.
        Adopt(_init, anticipation, InitEnded);
        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    /// <summary>How it is to be read back.</summary>
    /// <param name="Spec">From where.</param>
    /// <param name="BundleDirectory">The runtime's bundle.</param>
    /// <param name="NoPivot">No pivot_root.</param>
    private sealed record Restoration(RestoreSpec Spec, string BundleDirectory, bool NoPivot);
}
