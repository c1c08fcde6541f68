using Containerd.V1;
using Grpc.Core;
using Process = Containerd.V1.Process;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Support;

/// <summary>A container of a test: the calls that most tests make, in one line each.</summary>
public sealed class TestContainer
{
    private readonly SupervisorFixture _supervisor;

    private TestContainer(SupervisorFixture supervisor, string id, Bundle bundle, uint pid) =>
        (_supervisor, Id, Bundle, Pid) = (supervisor, id, bundle, pid);

    /// <summary>Its id.</summary>
    public string Id { get; }

    /// <summary>What it was made from.</summary>
    public Bundle Bundle { get; }

    /// <summary>Host pid of its init process.</summary>
    public uint Pid { get; }

    /// <summary>Creates a container and leaves it waiting for the start.</summary>
    public static async Task<TestContainer> CreateAsync(
        SupervisorFixture supervisor,
        Func<BundleBuilder, BundleBuilder>? configure = null,
        string? id = null,
        Action<CreateContainerRequest>? streams = null)
    {
        var builder = supervisor.NewBundle();
        var bundle = (configure is null ? builder : configure(builder)).Write();
        var request = new CreateContainerRequest { Id = id ?? TestRun.NewName("c"), BundlePath = bundle.Path };
        streams?.Invoke(request);
        var response = await supervisor.Containers.CreateContainerAsync(request);
        return new TestContainer(supervisor, request.Id, bundle, response.InitProcess.Pid);
    }

    /// <summary>Creates and starts a container.</summary>
    public static async Task<TestContainer> RunAsync(
        SupervisorFixture supervisor,
        Func<BundleBuilder, BundleBuilder>? configure = null,
        string? id = null,
        Action<CreateContainerRequest>? streams = null)
    {
        var container = await CreateAsync(supervisor, configure, id, streams);
        await container.StartAsync();
        return container;
    }

    /// <summary>Lets init run.</summary>
    public async Task StartAsync() => await _supervisor.Containers.StartContainerAsync(new StartContainerRequest { Id = Id });

    /// <summary>Freezes it.</summary>
    public async Task PauseAsync() => await _supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = Id });

    /// <summary>Thaws it.</summary>
    public async Task ResumeAsync() => await _supervisor.Containers.ResumeContainerAsync(new ResumeContainerRequest { Id = Id });

    /// <summary>Removes it, whatever still runs in it.</summary>
    public async Task DeleteAsync() => await _supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = Id });

    /// <summary>Its state.</summary>
    public async Task<Status> StatusAsync() =>
        (await _supervisor.Containers.GetContainerAsync(new GetContainerRequest { Id = Id })).Container.Status;

    /// <summary>A request for one more process in it.</summary>
    public StartProcessRequest ExecRequest(params string[] args) => new() { ContainerId = Id, Process = new Process { Args = { args } } };

    /// <summary>Starts one more process in it.</summary>
    public async Task<uint> ExecAsync(params string[] args) => await ExecAsync(ExecRequest(args));

    /// <summary>Starts one more process in it.</summary>
    public async Task<uint> ExecAsync(StartProcessRequest request) =>
        (await _supervisor.Containers.StartProcessAsync(request)).Process.Pid;

    /// <summary>Runs a shell script in it, waits for its end, and deletes the process.</summary>
    public async Task<Exit> ShellAsync(string script)
    {
        var pid = await ExecAsync("sh", "-c", script);
        var exit = await WaitAsync(pid);
        await DeleteProcessAsync(pid);
        return exit;
    }

    /// <summary>Runs a shell script in it and returns what it printed, its end checked to be a success.</summary>
    public async Task<string> OutputAsync(string script, Action<StartProcessRequest>? configure = null)
    {
        var path = Path.Combine(_supervisor.NewDirectory(), "stdout");
        using var reader = new FifoReader(path);
        var request = ExecRequest("sh", "-c", script);
        request.Stdout = path;
        configure?.Invoke(request);
        var pid = await ExecAsync(request);
        var exit = await WaitAsync(pid);
        var text = await reader.ReadTextAsync(Poll.Deadline);
        await DeleteProcessAsync(pid);
        return exit.Status == 0 ? text : throw new NUnit.Framework.AssertionException($"`{script}` exited with {exit.Status}: {text}");
    }

    /// <summary>How a process ended; waits for it. 0 is init.</summary>
    public async Task<Exit> WaitAsync(uint pid = 0, TimeSpan? deadline = null) =>
        (await _supervisor.Control.WaitAsync(
            new WaitRequest { ContainerId = Id, Pid = pid },
            new CallOptions(deadline: DateTime.UtcNow + Patience.Of(deadline ?? SupervisorFixture.CallDeadline)))).Exit;

    /// <summary>Sends a signal to one process.</summary>
    public async Task SignalAsync(uint pid, int signal) =>
        await _supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = Id, Pid = pid, Signal = (uint)signal });

    /// <summary>Kills init and waits for its end.</summary>
    public async Task<Exit> KillAsync()
    {
        await SignalAsync(Pid, 9);
        return await WaitAsync();
    }

    /// <summary>Forgets an ended exec.</summary>
    public async Task DeleteProcessAsync(uint pid) =>
        await _supervisor.Containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = Id, Pid = pid });

    /// <summary>One process.</summary>
    public async Task<Process> ProcessAsync(uint pid) =>
        (await _supervisor.Containers.GetProcessAsync(new GetProcessRequest { ContainerId = Id, Pid = pid })).Process;

    /// <summary>All processes.</summary>
    public async Task<IReadOnlyList<Process>> ProcessesAsync() =>
        [.. (await _supervisor.Containers.ListProcessesAsync(new ListProcessesRequest { ContainerId = Id })).Processes];

    /// <summary>Everything the supervisor knows of it.</summary>
    public async Task<ContainerDetails> InspectAsync() =>
        (await _supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { Id } })).Containers[0];
}
