using Containerd;
using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Supervisor.Containers;
using Supervisor.Daemon;
using Supervisor.Events;
using Supervisor.Shims;
using ContainerEntry = Supervisor.Containers.Container;
using ShimContract = Containerd.Shim.V1;
using StreamAddress = Supervisor.Containers.StreamAddress;

namespace Supervisor.Api;

/// <summary>What every user of a supervisor needs and the seed's contract lacks, translated.</summary>
internal sealed class SupervisorApi(
    Settings settings,
    ContainerRegistry registry,
    EventLog events,
    Degradation degradation,
    IHostApplicationLifetime lifetime) : SupervisorService.SupervisorServiceBase
{
    /// <inheritdoc/>
    public override async Task Events(EventsRequest request, IServerStreamWriter<Event> responseStream, ServerCallContext context)
    {
        var newest = events.NewestSequence;
        var reader = events.ReadAfter(request.LiveOnly ? newest : request.AfterSequence);
        var containers = request.ContainerIds.Count == 0 ? null : request.ContainerIds.ToHashSet(StringComparer.Ordinal);
        var types = request.Types_.Count == 0 ? null : request.Types_.ToHashSet();

        // At once, not with the first event: the caller knows now that nothing escapes him from here on.
        await context.WriteResponseHeadersAsync([]);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        while (!request.NoFollow || reader.Position < newest)
        {
            if (!reader.TryRead(out var record))
            {
                await WaitAsync(reader.WaitAsync(stop.Token), context);
                continue;
            }

            if (request.NoFollow && record.Sequence > newest)
            {
                return;
            }

            if ((containers is null || containers.Contains(record.ContainerId)) && (types is null || types.Contains(record.Type)))
            {
                await WaitAsync(responseStream.WriteAsync(record.ToMessage(), stop.Token), context);
            }
        }
    }

    /// <inheritdoc/>
    public override async Task<WaitResponse> Wait(WaitRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        if (container.IsInit(request.Pid))
        {
            // From memory: init's exit arrives as an event, also when the shim is lost meanwhile.
            var exit = container.WaitForExitAsync(stop.Token);
            await WaitAsync(exit, context);
            return new WaitResponse { Exit = (await exit).ToMessage(), Pid = container.LastTrack!.InitPid };
        }

        var answer = container.CallShimAsync(
            "wait for a process of",
            Deadlines.Caller,
            (shim, options) => shim.WaitAsync(new ShimContract.WaitRequest { Pid = request.Pid }, options),
            stop.Token);
        await WaitAsync(answer, context);
        return new WaitResponse { Exit = (await answer).Exit, Pid = request.Pid };
    }

    /// <inheritdoc/>
    public override async Task<Empty> ResizeConsole(ResizeConsoleRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        if (request.Width is 0 or > ushort.MaxValue || request.Height is 0 or > ushort.MaxValue)
        {
            throw TaskException.Invalid($"a terminal of {request.Width} by {request.Height} characters: both must be 1 to {ushort.MaxValue}");
        }

        var resize = new ShimContract.PtyRequest { Pid = PidOf(container, request.Pid), Width = request.Width, Height = request.Height };
        return await container.CallShimAsync(
            "resize a terminal of",
            Deadlines.Verb,
            (shim, options) => shim.PtyAsync(resize, options),
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Empty> CloseStdin(CloseStdinRequest request, ServerCallContext context) =>
        await registry.Get(request.ContainerId).CallShimAsync(
            "close stdin of a process of",
            Deadlines.Verb,
            (shim, options) => shim.CloseStdinAsync(new ShimContract.CloseStdinRequest { Pid = request.Pid }, options),
            context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<Empty> Attach(AttachRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        StreamAddress.Check(request.Stdin, "stdin");
        StreamAddress.Check(request.Stdout, "stdout");
        StreamAddress.Check(request.Stderr, "stderr");
        var attach = new ShimContract.AttachRequest { Pid = request.Pid, Stdin = request.Stdin, Stdout = request.Stdout, Stderr = request.Stderr };
        return await container.CallShimAsync(
            "attach to a process of",
            Deadlines.Verb,
            (shim, options) => shim.AttachAsync(attach, options),
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Empty> Detach(DetachRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        StreamAddress.Check(request.Stdout, "stdout");
        var detach = new ShimContract.DetachRequest { Pid = request.Pid, Stdout = request.Stdout };
        return await container.CallShimAsync(
            "detach from a process of",
            Deadlines.Verb,
            (shim, options) => shim.DetachAsync(detach, options),
            context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<Empty> ReopenLogs(ReopenLogsRequest request, ServerCallContext context) =>
        await registry.Get(request.ContainerId).CallShimAsync(
            "reopen the logs of",
            Deadlines.Verb,
            (shim, options) => shim.ReopenLogsAsync(new ShimContract.ReopenLogsRequest(), options),
            context.CancellationToken);

    /// <inheritdoc/>
    public override async Task<Empty> Kill(KillRequest request, ServerCallContext context)
    {
        var container = registry.Get(request.ContainerId);
        Translation.CheckSignal(request.Signal);
        if (request.All && request.Pid != 0)
        {
            throw TaskException.Invalid($"kill all of container {container.Id}: pid must be 0, not {request.Pid}");
        }

        var kill = new ShimContract.KillRequest { Pid = request.Pid, Signal = request.Signal, All = request.All };
        return await container.CallShimAsync("kill", Deadlines.Verb, (shim, options) => shim.KillAsync(kill, options), context.CancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<GetStatsResponse> GetStats(GetStatsRequest request, ServerCallContext context)
    {
        var response = await registry.Get(request.ContainerId).CallShimAsync(
            "read stats of",
            Deadlines.Read,
            (shim, options) => shim.StatsAsync(new ShimContract.StatsRequest(), options),
            context.CancellationToken);
        return new GetStatsResponse { Stats = response.Stats };
    }

    /// <inheritdoc/>
    public override async Task<InspectResponse> Inspect(InspectRequest request, ServerCallContext context)
    {
        ContainerEntry[] containers = request.ContainerIds.Count == 0
            ? [.. registry.Present]
            : [.. request.ContainerIds.Distinct(StringComparer.Ordinal).Select(registry.Get)];
        var details = await Task.WhenAll(containers.Select(container => DetailsAsync(container, !request.NoProcesses, context.CancellationToken)));
        var response = new InspectResponse();
        response.Containers.AddRange(details);
        return response;
    }

    /// <inheritdoc/>
    public override Task<InfoResponse> Info(InfoRequest request, ServerCallContext context)
    {
        var counts = registry.Present.CountBy(container => container.Status).ToDictionary();
        return Task.FromResult(new InfoResponse
        {
            Version = DaemonHost.Version,
            Pid = (uint)Environment.ProcessId,
            StartedAt = EventTranslation.ToTimestamp(settings.StartedAt),
            Root = settings.Root,
            Socket = settings.Socket,
            Shim = settings.Shim,
            Runtime = settings.Runtime,
            RuntimeRoot = settings.RuntimeRoot,
            Containers = (uint)counts.Values.Sum(),
            Created = (uint)counts.GetValueOrDefault(Containerd.V1.Status.Created),
            Running = (uint)counts.GetValueOrDefault(Containerd.V1.Status.Running),
            Paused = (uint)counts.GetValueOrDefault(Containerd.V1.Status.Paused),
            Stopped = (uint)counts.GetValueOrDefault(Containerd.V1.Status.Stopped),
            OldestSequence = events.OldestSequence,
            NewestSequence = events.NewestSequence,
            Degraded = { degradation.Sentences },
        });
    }

    private static async Task<ContainerDetails> DetailsAsync(ContainerEntry container, bool withProcesses, CancellationToken cancellationToken)
    {
        var record = container.Record!;
        var track = container.LastTrack!;
        var details = new ContainerDetails
        {
            Id = container.Id,
            Bundle = record.Bundle,
            Status = track.Status,
            Pid = track.InitPid,
            CreatedAt = EventTranslation.ToTimestamp(record.CreatedAt),
            Terminal = record.Terminal,
            Stdin = record.Stdin,
            Stdout = record.Stdout,
            Stderr = record.Stderr,
            Exit = track.Exit?.ToMessage(),
            Shim = new ShimDetails
            {
                Pid = (uint)record.ShimPid,
                Socket = container.Directory.SocketPath,
                Trouble = container.Link?.Trouble ?? "lost",
                StateDirectory = container.Directory.Path,
            },
        };
        details.Owners.AddRange(record.Owners);
        if (withProcesses)
        {
            try
            {
                var pids = await container.CallShimAsync(
                    "list processes of",
                    Deadlines.Read,
                    (shim, options) => shim.PidsAsync(new ShimContract.PidsRequest(), options),
                    cancellationToken);
                details.Processes.AddRange(pids.Processes);
            }
            catch (Exception e) when (e is RpcException || (e is TaskException && container.Link?.Trouble is not ""))
            {
                // One container in trouble must not hide the others; what it is, stands in `trouble`.
                details.Shim.Trouble = container.Link?.Trouble ?? "lost";
            }
        }

        return details;
    }

    private static uint PidOf(ContainerEntry container, uint pid) => pid != 0 ? pid : container.LastTrack!.InitPid;

    /// <summary>Waits for what may take for ever, until the caller gives up or this supervisor stops.</summary>
    private async Task WaitAsync(Task task, ServerCallContext context)
    {
        try
        {
            await task;
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
        {
            throw TaskException.Unavailable($"{ErrorKinds.SupervisorStops}; the containers go on");
        }
    }
}
