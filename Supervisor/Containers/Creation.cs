using Containerd;
using Containerd.Shim.V1;
using Containerd.V1;
using Shim.Cgroups;
using Shim.Processes;
using Supervisor.Daemon;
using Supervisor.Events;
using Supervisor.Shims;

namespace Supervisor.Containers;

/// <summary>What a client asks for when it creates a container.</summary>
internal sealed record CreationRequest(string Id, string BundlePath, bool Console, string Stdin, string Stdout, string Stderr);

/// <summary>
/// Creates containers: all of it or nothing. The id is taken first; what is needed to find everything again is on disk before each
/// step; whatever fails, and also a client that gives up, leads to the same undoing.
/// </summary>
internal sealed class Creation(
    Settings settings,
    RootDirectory root,
    ContainerRegistry registry,
    EventLog events,
    ShimLauncher launcher,
    Removal removal,
    ILogger<Creation> logger)
{
    /// <summary>Creates the container and its shim; the init process waits for its start.</summary>
    internal async Task<(Container Container, ProcessDetails Init)> CreateAsync(CreationRequest request, CancellationToken cancellationToken)
    {
        ContainerId.Check(request.Id);
        StreamAddress.Check(request.Stdin, "stdin");
        StreamAddress.Check(request.Stdout, "stdout");
        StreamAddress.Check(request.Stderr, "stderr");
        var bundle = await Bundle.ReadAsync(request.BundlePath, cancellationToken);
        events.RequireRoom();
        var container = new Container(request.Id, root.OfContainer(request.Id), events);
        registry.Add(container);
        ProcessDetails init;
        try
        {
            init = await RunAsync(container, request, bundle, cancellationToken);
        }
        catch (Exception e)
        {
            // The answer comes after the undoing: who sees the error finds nothing left behind.
            ContainersLog.CreationFailed(logger, container.Id, ErrorKinds.ToStatus(e).Detail);
            await UndoAsync(container);
            throw;
        }

        container.ShimEnd = removal.WatchShimAsync(container, container.Link!);
        ContainersLog.Created(logger, container.Id, bundle.Path, init.Pid);
        return (container, init);
    }

    private async Task<ProcessDetails> RunAsync(Container container, CreationRequest request, Bundle bundle, CancellationToken cancellationToken)
    {
        if (!container.Directory.Create())
        {
            throw TaskException.AlreadyExists($"create container {container.Id}: {container.Directory.Path} is in the way");
        }

        var record = new ContainerRecord
        {
            Id = container.Id,
            Bundle = bundle.Path,
            Owners = bundle.Owners,
            Terminal = request.Console || bundle.Terminal,
            Stdin = request.Stdin,
            Stdout = request.Stdout,
            Stderr = request.Stderr,
            Runtime = settings.Runtime,
            RuntimeRoot = settings.RuntimeRoot,
            AdoptsLoss = bundle.AdoptsLoss,
            CreatedAt = DateTime.UtcNow,
            Cgroups = CgroupFootprint.Plan(container.Id, bundle.CgroupsPath),
        };
        container.Save(_ => record);

        var process = launcher.Launch(container.Directory, record);
        container.Link = new ShimLink(container, process, logger);
        ShimsLog.Started(logger, container.Id, process.Pid);
        container.Save(_ => record = record with { ShimPid = process.Pid, ShimStartTime = process.StartTime });

        container.Link.StartPump();

        // A caller who gives up does not stop the runtime half-way: it finishes, and then there is something whole to undo.
        var created = await container.Link.CallAsync(
            "create",
            Deadlines.Create,
            (client, options) => client.CreateAsync(ToShim(record), options),
            CancellationToken.None);
        cancellationToken.ThrowIfCancellationRequested();

        var present = container.WaitForCreationAsync(cancellationToken);
        await await Task.WhenAny(present, container.Link.Process.Ended).WaitAsync(Deadlines.EventsOfAnswer, cancellationToken);
        if (container.Track is null)
        {
            throw TaskException.Unavailable($"create container {container.Id}: its shim (pid {process.Pid}) has ended");
        }

        var init = created.Process ?? new ProcessDetails { Pid = created.Pid };

        // From here on the container is there, whether its creator still listens or not.
        container.Save(_ => record with { InitPid = (int)init.Pid, InitStartTime = ProcFs.StartTime((int)init.Pid) ?? 0, Complete = true });
        container.IsCommitted = true;
        return init;
    }

    private async Task UndoAsync(Container container)
    {
        try
        {
            await removal.UndoAsync(container);
        }
        catch (Exception e)
        {
            // The id stays taken until the next start of the supervisor, which tries again.
            ContainersLog.CleanUpFailed(logger, container.Id, e);
        }
    }

    private static CreateRequest ToShim(ContainerRecord record) => new()
    {
        Id = record.Id,
        Bundle = record.Bundle,
        Runtime = record.Runtime,
        Terminal = record.Terminal,
        Stdin = record.Stdin,
        Stdout = record.Stdout,
        Stderr = record.Stderr,
    };
}
