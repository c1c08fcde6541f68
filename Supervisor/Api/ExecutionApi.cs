using Containerd;
using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Supervisor.Containers;
using Supervisor.Shims;
using ShimContract = Containerd.Shim.V1;

namespace Supervisor.Api;

/// <summary>The thirteen RPCs of the seed's contract, translated.</summary>
internal sealed class ExecutionApi(ContainerRegistry registry, Creation creation, Removal removal) : ExecutionService.ExecutionServiceBase
{
    private static readonly Empty s_done = new();

    /// <inheritdoc/>
    public override async Task<CreateContainerResponse> CreateContainer(CreateContainerRequest request, ServerCallContext context)
    {
        var (container, init) = await creation.CreateAsync(
            new CreationRequest(request.Id, request.BundlePath, request.Console, request.Stdin, request.Stdout, request.Stderr),
            context.CancellationToken);
        return new CreateContainerResponse { Container = container.ToMessage(), InitProcess = init.ToProcess() };
    }

    /// <inheritdoc/>
    public override async Task<Empty> StartContainer(StartContainerRequest request, ServerCallContext context) =>
        await registry.Get(request.Id).CallShimAsync(
            "start",
            Deadlines.Verb,
            (shim, options) => shim.StartAsync(new ShimContract.StartRequest(), options),
            context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<Empty> UpdateContainer(UpdateContainerRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        Bundle.CheckPath(request.BundlePath);
        return await container.CallShimAsync(
            "update",
            Deadlines.Verb,
            (shim, options) => shim.UpdateAsync(new ShimContract.UpdateRequest { Bundle = request.BundlePath }, options),
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Empty> PauseContainer(PauseContainerRequest request, ServerCallContext context) =>
        await registry.Get(request.Id).CallShimAsync(
            "pause",
            Deadlines.Verb,
            (shim, options) => shim.PauseAsync(new ShimContract.PauseRequest(), options),
            context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<Empty> ResumeContainer(ResumeContainerRequest request, ServerCallContext context) =>
        await registry.Get(request.Id).CallShimAsync(
            "resume",
            Deadlines.Verb,
            (shim, options) => shim.ResumeAsync(new ShimContract.ResumeRequest(), options),
            context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<Empty> DeleteContainer(DeleteContainerRequest request, ServerCallContext context)
    {
        var container = registry.GetForDeletion(request.Id);
        if (!container.IsInit(request.Pid))
        {
            throw TaskException.Invalid(
                $"delete container {container.Id}: pid {request.Pid} is not its init process ({container.LastTrack?.InitPid})");
        }

        await removal.DeleteAsync(container).WaitAsync(context.CancellationToken);
        return s_done;
    }

    /// <inheritdoc/>
    public override Task<GetContainerResponse> GetContainer(GetContainerRequest request, ServerCallContext context) =>
        Task.FromResult(new GetContainerResponse { Container = registry.Get(request.Id).ToMessage() });

    /// <inheritdoc/>
    public override Task<ListContainersResponse> ListContainers(ListContainersRequest request, ServerCallContext context)
    {
        var response = new ListContainersResponse();
        response.Containers.AddRange(registry.Present
            .Where(container => request.Owner.Count == 0 || (container.Record?.Owners.Any(request.Owner.Contains) ?? false))
            .Select(container => container.ToMessage()));
        return Task.FromResult(response);
    }

    /// <inheritdoc/>
    public override async Task<StartProcessResponse> StartProcess(StartProcessRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        var exec = request.ToShim();
        var response = await container.CallShimAsync(
            "exec in",
            Deadlines.Exec,
            (shim, options) => shim.ExecAsync(exec, options),
            context.CancellationToken);
        return new StartProcessResponse { Process = (response.Process ?? new ProcessDetails { Pid = response.Pid }).ToProcess() };
    }

    /// <inheritdoc/>
    public override async Task<GetProcessResponse> GetProcess(GetProcessRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        Translation.CheckPid(request.Pid);
        return new GetProcessResponse { Process = await ProcessAsync(container, request.Pid, context.CancellationToken) };
    }

    /// <inheritdoc/>
    public override async Task<Empty> SignalProcess(SignalProcessRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        Translation.CheckPid(request.Pid);
        Translation.CheckSignal(request.Signal);
        return await container.CallShimAsync(
            "signal a process of",
            Deadlines.Verb,
            (shim, options) => shim.KillAsync(new ShimContract.KillRequest { Pid = request.Pid, Signal = request.Signal }, options),
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Empty> DeleteProcess(DeleteProcessRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        Translation.CheckPid(request.Pid);
        if (container.IsInit(request.Pid))
        {
            throw TaskException.Precondition($"delete process {request.Pid} of container {container.Id}: it is the init process; delete the container");
        }

        await container.CallShimAsync(
            "delete a process of",
            Deadlines.Delete,
            (shim, options) => shim.DeleteAsync(new ShimContract.DeleteRequest { Pid = request.Pid }, options),
            context.CancellationToken);
        return s_done;
    }

    /// <inheritdoc/>
    public override async Task<ListProcessesResponse> ListProcesses(ListProcessesRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        var pids = await container.CallShimAsync(
            "list processes of",
            Deadlines.Read,
            (shim, options) => shim.PidsAsync(new ShimContract.PidsRequest(), options),
            context.CancellationToken);
        var response = new ListProcessesResponse();
        response.Processes.AddRange(pids.Processes.Select(process => process.ToProcess()));
        return response;
    }

    private static async Task<Process> ProcessAsync(Supervisor.Containers.Container container, uint pid, CancellationToken cancellationToken)
    {
        var pids = await container.CallShimAsync(
            "look up a process of",
            Deadlines.Read,
            (shim, options) => shim.PidsAsync(new ShimContract.PidsRequest { Pid = pid }, options),
            cancellationToken);
        return pids.Processes.FirstOrDefault(process => process.Pid == pid)?.ToProcess()
            ?? throw TaskException.NotFound($"no process {pid} in container {container.Id}");
    }
}
