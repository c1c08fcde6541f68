using Containerd;
using Containerd.TaskApi;
using Containerd.TaskApi.V2;
using Google.Protobuf.WellKnownTypes;
using Shim.Runtime;
using Shim.Tasks;
using ProcessDetails = Containerd.Runc.V1.ProcessDetails;

namespace Shim.Transport.ShimV2;

/// <summary>
/// containerd's task API (versions 2 and 3 have the same messages): translates, and decides nothing but what only that API has, such as which refusals its
/// clients match by their words.
/// </summary>
/// <param name="tasks">The domain.</param>
/// <param name="homes">What each container stands on.</param>
/// <param name="events">Tells containerd what happens.</param>
/// <param name="shutdown">Ends this process, after the answer.</param>
internal sealed class TaskApi(TaskService tasks, ContainerHomes homes, EventForwarder events, Action shutdown)
{
    private static readonly Empty s_empty = new();

    internal async Task<CreateTaskResponse> CreateAsync(CreateTaskRequest request)
    {
        ContainerId.Check(request.Id);
        var options = OptionsMessage.From(request.Options);
        var spec = new CreateSpec(
            request.Id,
            request.Bundle,
            options.Binary,
            options.NoPivotRoot,
            TaskMessages.ToAddresses(request.Stdin, request.Stdout, request.Stderr, request.Terminal))
        {
            NoNewKeyring = options.NoNewKeyring,
            StreamOwner = options.StreamOwner,
            ExecBeforeStart = true,
            Rootfs = [.. request.Rootfs.Select(mount => new Rootfs.MountSpec(mount.Type, mount.Source, mount.Target, [.. mount.Options]))],
            Restore = request.Checkpoint.Length > 0 ? new RestoreSpec(request.Checkpoint, options.CriuWorkPath) : null,
        };

        // 0 for one that waits to be restored.
        return new CreateTaskResponse { Pid = (uint)(await MakeAsync(request, spec, options).ConfigureAwait(false)).InitPid };
    }

    internal async Task<StartResponse> StartAsync(StartRequest request, CancellationToken cancellationToken)
    {
        var container = tasks.Get(request.Id);
        if (request.ExecId.Length > 0)
        {
            return new StartResponse { Pid = (uint)await container.StartNamedAsync(request.ExecId, cancellationToken).ConfigureAwait(false) };
        }

        await container.StartAsync(cancellationToken).ConfigureAwait(false);
        return new StartResponse { Pid = (uint)container.InitPid };
    }

    internal async Task<DeleteResponse> DeleteAsync(DeleteRequest request, CancellationToken cancellationToken)
    {
        var container = tasks.Get(request.Id);
        if (request.ExecId.Length > 0)
        {
            var named = await container.DeleteNamedAsync(request.ExecId, cancellationToken).ConfigureAwait(false);
            return new DeleteResponse { Pid = (uint)named.Pid, ExitStatus = (uint)(named.Exit?.Status.Code ?? 0), ExitedAt = TaskMessages.ExitedAt(named.Exit) };
        }

        // Unlike a supervisor's, this deletion kills nothing that runs: containerd's clients rely on the refusal.
        if (container.State is (InitState.Running or InitState.Paused) and var state)
        {
            throw TaskException.Precondition($"cannot delete container {request.Id}: it is {InitStates.Name(state)}");
        }

        var exit = await container.DeleteAsync(cancellationToken).ConfigureAwait(false);
        return new DeleteResponse { Pid = (uint)container.InitPid, ExitStatus = (uint)(exit?.Status.Code ?? 0), ExitedAt = TaskMessages.ExitedAt(exit) };
    }

    internal StateResponse State(StateRequest request)
    {
        var container = tasks.Get(request.Id);
        return Describe(request, container.BundleDirectory, container.ViewNamed(request.ExecId));
    }

    /// <summary>A daemon that comes back asks this first, and takes an error for the loss of the shim.</summary>
    internal PidsResponse Pids(PidsRequest request)
    {
        var container = tasks.Get(request.Id);
        var names = container.NamesByPid();
        var response = new PidsResponse();
        foreach (var pid in container.Pids())
        {
            var process = new ProcessInfo { Pid = (uint)pid };
            if (names.TryGetValue(pid, out var name))
            {
                process.Info = TaskMessages.Pack("containerd.runc.v1.ProcessDetails", new ProcessDetails { ExecId = name });
            }

            response.Processes.Add(process);
        }

        return response;
    }

    internal async Task<Empty> PauseAsync(PauseRequest request, CancellationToken cancellationToken)
    {
        await tasks.Get(request.Id).PauseAsync(cancellationToken).ConfigureAwait(false);
        return s_empty;
    }

    internal async Task<Empty> ResumeAsync(ResumeRequest request, CancellationToken cancellationToken)
    {
        await tasks.Get(request.Id).ResumeAsync(cancellationToken).ConfigureAwait(false);
        return s_empty;
    }

    internal async Task<Empty> CheckpointAsync(CheckpointTaskRequest request, CancellationToken cancellationToken)
    {
        var container = tasks.Get(request.Id);
        await container.CheckpointAsync(TaskMessages.ToCheckpoint(request, RuntimeOptions.Read(container.BundleDirectory)), cancellationToken).ConfigureAwait(false);
        return s_empty;
    }

    internal Empty Kill(KillRequest request)
    {
        var container = tasks.Get(request.Id);
        var signal = (int)Math.Min(request.Signal, int.MaxValue);
        if (request.All && request.ExecId.Length == 0)
        {
            // Clients that stop a container take these words for success.
            if (container.State is InitState.Stopped)
            {
                throw TaskException.NotFound($"container {request.Id}: process already finished");
            }

            container.SignalAll(signal);
        }
        else
        {
            container.SignalNamed(request.ExecId, signal);
        }

        return s_empty;
    }

    internal async Task<Empty> ExecAsync(ExecProcessRequest request)
    {
        var addresses = TaskMessages.ToAddresses(request.Stdin, request.Stdout, request.Stderr, request.Terminal);
        var process = request.Spec?.Value.ToByteArray() ?? throw TaskException.Invalid($"process {request.ExecId} of container {request.Id} has no description");
        await tasks.Get(request.Id).AddNamedAsync(request.ExecId, process, addresses).ConfigureAwait(false);
        return s_empty;
    }

    internal Empty ResizePty(ResizePtyRequest request)
    {
        tasks.Get(request.Id).ResizeNamed(request.ExecId, (int)Math.Min(request.Width, int.MaxValue), (int)Math.Min(request.Height, int.MaxValue));
        return s_empty;
    }

    internal Empty CloseIO(CloseIORequest request)
    {
        var container = tasks.Get(request.Id);
        if (request.Stdin)
        {
            container.CloseStdinNamed(request.ExecId);
        }

        return s_empty;
    }

    internal async Task<Empty> UpdateAsync(UpdateTaskRequest request, CancellationToken cancellationToken)
    {
        var resources = request.Resources?.Value.Memory ?? throw TaskException.Invalid($"cannot update container {request.Id}: no resources are given");
        await tasks.Get(request.Id).UpdateResourcesAsync(resources, cancellationToken).ConfigureAwait(false);
        return s_empty;
    }

    internal async Task<WaitResponse> WaitAsync(WaitRequest request, CancellationToken cancellationToken)
    {
        var (_, exit) = await tasks.Get(request.Id).WaitNamedAsync(request.ExecId, cancellationToken).ConfigureAwait(false);
        return new WaitResponse { ExitStatus = (uint)exit.Status.Code, ExitedAt = TaskMessages.ExitedAt(exit) };
    }

    internal StatsResponse Stats(StatsRequest request)
    {
        var container = tasks.Get(request.Id);
        return container.Cgroup is { } cgroup && container.State is not InitState.Stopped
            ? new StatsResponse { Stats = CgroupMetrics.Of(cgroup) }
            : throw TaskException.Precondition($"container {request.Id} uses nothing: it has no cgroup, or it has ended");
    }

    internal ConnectResponse Connect(ConnectRequest request) => new()
    {
        ShimPid = (uint)Environment.ProcessId,
        TaskPid = (uint)(tasks.Find(request.Id)?.InitPid ?? 0),
    };

    /// <summary>Whoever asks means his own container; while there are others of the group, the shim stays.</summary>
    internal Empty Shutdown()
    {
        try
        {
            tasks.Close();
        }
        catch (TaskException)
        {
            return s_empty;
        }

        shutdown();
        return s_empty;
    }

    private static StateResponse Describe(StateRequest request, string bundle, NamedView process) => new()
    {
        Id = request.Id,
        ExecId = request.ExecId,
        Bundle = bundle,
        Pid = (uint)process.Pid,
        Status = TaskMessages.ToStatus(process.State),
        Stdin = process.Streams.Stdin,
        Stdout = process.Streams.Stdout,
        Stderr = process.Streams.Stderr,
        Terminal = process.Streams.Terminal,
        ExitStatus = (uint)(process.Exit?.Status.Code ?? 0),
        ExitedAt = TaskMessages.ExitedAt(process.Exit),
    };

    private async Task<Container> MakeAsync(CreateTaskRequest request, CreateSpec spec, RuntimeOptions options)
    {
        var home = homes.Open(spec.Bundle, options);
        try
        {
            var container = await tasks.CreateAsync(home, spec).ConfigureAwait(false);
            events.Follow(container, request);
            return container;
        }
        catch
        {
            home.Journal.Dispose();
            throw;
        }
    }
}
