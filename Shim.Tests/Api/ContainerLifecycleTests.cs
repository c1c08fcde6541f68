using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>Create, start, get, list, pause, resume, update and delete, where they succeed.</summary>
public sealed class ContainerLifecycleTests : SupervisorTests
{
    [Test]
    public async Task Create_Bundle_ContainerAndInitAreDescribed()
    {
        var bundle = Supervisor.NewBundle().Args("sleep", "1000").Env("GREETING=hello").Cwd("/tmp").User(1000, 1000, 7).Write();
        var response = await Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "web-1.x_Y", BundlePath = bundle.Path });

        Assert.That(response.Container, Is.EqualTo(new Container { Id = "web-1.x_Y", Bundle = bundle.Path, Status = Status.Created }));
        var init = response.InitProcess;
        Assert.That(init.Pid, Is.GreaterThan(1u));
        Assert.That(HostProcess.Runs((int)init.Pid), Is.True);
        Assert.That(init.Args, Is.EqualTo(new[] { "sleep", "1000" }));
        Assert.That(init.Env, Does.Contain("GREETING=hello").And.Contain("PATH=/bin"));
        Assert.That(init.Cwd, Is.EqualTo("/tmp"));
        Assert.That(init.User, Is.EqualTo(new User { Uid = 1000, Gid = 1000, AdditionalGids = { 7 } }));
        Assert.That(init.Terminal, Is.False);
    }

    [Test]
    public async Task Create_LongestId_Works()
    {
        var container = await TestContainer.RunAsync(Supervisor, id: new string('x', 128));
        Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
        await container.DeleteAsync();
    }

    [Test]
    public async Task Create_Container_ShimIsItsParent()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var details = await container.InspectAsync();
        Assert.That(HostProcess.Read((int)container.Pid)!.Parent, Is.EqualTo((int)details.Shim.Pid));
        Assert.That(details.Shim.Pid, Is.Not.EqualTo((uint)Supervisor.ProcessId));
        Assert.That(details.Shim.Trouble, Is.Empty);
        Assert.That(File.Exists(details.Shim.Socket), Is.True);
        Assert.That(File.GetUnixFileMode(details.Shim.Socket), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public async Task Start_Created_Runs()
    {
        var container = await TestContainer.CreateAsync(Supervisor);
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Created));
        await container.StartAsync();
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
        Assert.That((await container.ProcessAsync(container.Pid)).Args, Is.EqualTo(new[] { "sleep", "1000000" }));
    }

    [Test]
    public async Task Start_InitEndsAtOnce_StartSucceedsAndStatusIsTrue([Values(0, 1, 42, 255)] int status)
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script($"exit {status}"));
        var exit = await container.WaitAsync();
        Assert.That(exit.Status, Is.EqualTo((uint)status));
        Assert.That(exit.Reason, Is.EqualTo(ExitReason.Exited));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
        Assert.That((await container.ProcessAsync(container.Pid)).ExitStatus, Is.EqualTo((uint)status));
    }

    [Test]
    public async Task Init_WritesToFiles_AllBytesInOrder()
    {
        var directory = Supervisor.NewDirectory();
        var (stdout, stderr) = (Path.Combine(directory, "out"), Path.Combine(directory, "err"));
        using var reader = new FifoReader(stdout);
        using var errors = new FifoReader(stderr);
        var container = await TestContainer.RunAsync(
            Supervisor,
            b => b.Script("echo begin >&2; seq 1 100000; printf end"),
            streams: request => (request.Stdout, request.Stderr) = (stdout, stderr));
        Assert.That((await container.WaitAsync()).Status, Is.Zero);
        var expected = string.Concat(Enumerable.Range(1, 100_000).Select(n => $"{n}\n")) + "end";
        Assert.That(await reader.ReadTextAsync(Poll.Deadline), Is.EqualTo(expected));
        Assert.That(await errors.ReadTextAsync(Poll.Deadline), Is.EqualTo("begin\n"));
    }

    [Test]
    public async Task List_OwnerFilter_OnlyThoseOwners()
    {
        var ann = await TestContainer.CreateAsync(Supervisor, b => b.Owner("ann"));
        var bob = await TestContainer.CreateAsync(Supervisor, b => b.Owner("bob"));
        var nobody = await TestContainer.CreateAsync(Supervisor);

        Assert.That(await ListAsync(), Is.EquivalentTo(new[] { ann.Id, bob.Id, nobody.Id }));
        Assert.That(await ListAsync("ann"), Is.EqualTo(new[] { ann.Id }));
        Assert.That(await ListAsync("bob", "ann"), Is.EquivalentTo(new[] { ann.Id, bob.Id }));
        Assert.That(await ListAsync("carol"), Is.Empty);
        Assert.That(await ListAsync("an"), Is.Empty);
    }

    [Test]
    [Category("CgroupV2")]
    public async Task List_AllStates_StatusIsRight()
    {
        var created = await TestContainer.CreateAsync(Supervisor);
        var running = await TestContainer.RunAsync(Supervisor);
        var paused = await TestContainer.RunAsync(Supervisor);
        await paused.PauseAsync();
        var stopped = await TestContainer.RunAsync(Supervisor, b => b.Args("true"));
        await stopped.WaitAsync();

        var list = await Supervisor.Containers.ListContainersAsync(new ListContainersRequest());
        Assert.That(list.Containers.ToDictionary(c => c.Id, c => c.Status), Is.EquivalentTo(new Dictionary<string, Status>
        {
            [created.Id] = Status.Created,
            [running.Id] = Status.Running,
            [paused.Id] = Status.Paused,
            [stopped.Id] = Status.Stopped,
        }));
        Assert.That(list.Containers.Single(c => c.Id == paused.Id).Bundle, Is.EqualTo(paused.Bundle.Path));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Pause_Counter_StandsStillUntilResume()
    {
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("n=0; while :; do n=$((n + 1)); echo $n > /host/n; usleep 5000; done"));
        var counter = Path.Combine(directory, "n");
        int Read() => File.Exists(counter) && int.TryParse(File.ReadAllText(counter), out var n) ? n : 0;
        await Poll.Until(() => Read() > 3, Poll.Deadline, "the counter counts");

        await container.PauseAsync();
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Paused));
        // A moment between the shell's truncating and its writing may be frozen for ever: 0 is a standstill as well.
        var before = Read();
        await Task.Delay(300);
        Assert.That(Read(), Is.EqualTo(before));

        await container.ResumeAsync();
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
        await Poll.Until(() => Read() > before + 3, Poll.Deadline, "the counter goes on");
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Update_MemoryAndPids_ReachTheCgroup()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.MemoryLimit(64 << 20).PidsLimit(50));
        var (memory, pids) = (
            container.Bundle.CgroupFile("memory", "memory.limit_in_bytes", "memory.max"),
            container.Bundle.CgroupFile("pids", "pids.max", "pids.max"));
        Assert.That(File.ReadAllText(memory).Trim(), Is.EqualTo($"{64 << 20}"));
        Assert.That(File.ReadAllText(pids).Trim(), Is.EqualTo("50"));

        var other = Supervisor.NewBundle().MemoryLimit(96 << 20).PidsLimit(77).Write();
        await Supervisor.Containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = container.Id, BundlePath = other.Path });
        Assert.That(File.ReadAllText(memory).Trim(), Is.EqualTo($"{96 << 20}"));
        Assert.That(File.ReadAllText(pids).Trim(), Is.EqualTo("77"));

        var stats = (await Supervisor.Control.GetStatsAsync(new GetStatsRequest { ContainerId = container.Id })).Stats;
        Assert.That(stats.Memory.LimitBytes, Is.EqualTo(96UL << 20));
        Assert.That(stats.Pids.Limit, Is.EqualTo(77UL));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Delete_Running_KillsAllAndLeavesNothing()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script("trap '' TERM; sleep 1000 & sleep 1000 & wait"));
        var exec = await container.ExecAsync("sleep", "1000");
        var shim = (await container.InspectAsync()).Shim;

        await container.DeleteAsync();

        Assert.That(HostProcess.Runs((int)container.Pid), Is.False);
        Assert.That(HostProcess.Runs((int)exec), Is.False);
        Assert.That(Directory.Exists(Path.Combine(Supervisor.Root, "c", container.Id)), Is.False);
        Assert.That(File.Exists(shim.Socket), Is.False);
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim ends");
        await events.WaitForAsync(e => e.Type == EventType.Deleted && e.ContainerId == container.Id && e.Init, Poll.Deadline);
        Assert.That(events.ExitsOf(container.Id).Select(e => (e.Pid, e.Exit.Status)), Is.EqualTo(new[] { (exec, 137u), (container.Pid, 137u) }));
        events.AssertOrder();
        await Supervisor.AssertNothingLeftAsync();
    }

    [Test]
    public async Task Delete_PidOfInit_Deletes()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id, Pid = container.Pid });
        Assert.That(await ListAsync(), Is.Empty);
    }

    [Test]
    public async Task Delete_AnotherPid_InvalidArgument()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sleep", "1000");
        foreach (var pid in new[] { exec, 1u, uint.MaxValue })
        {
            await Refusal.ExpectAsync(
                Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id, Pid = pid }),
                StatusCode.InvalidArgument,
                [$"{pid}"]);
        }

        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Delete_TwiceAtOnce_BothSucceedOrTheSecondFindsNothing()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            using var call = Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id });
            return (await Refusal.OutcomeAsync(call)).StatusCode;
        }));
        Assert.That(outcomes, Is.All.EqualTo(StatusCode.OK).Or.All.EqualTo(StatusCode.NotFound).Or.SubsetOf(new[] { StatusCode.OK, StatusCode.NotFound }));
        Assert.That(outcomes, Does.Contain(StatusCode.OK));
    }

    [Test]
    public async Task Delete_ThenCreate_IdIsFree()
    {
        for (var round = 0; round < 3; round++)
        {
            var container = await TestContainer.RunAsync(Supervisor, id: "again");
            Assert.That((await container.ShellAsync($"exit {round}")).Status, Is.EqualTo((uint)round));
            await container.DeleteAsync();
        }
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Delete_Paused_Deletes()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await container.PauseAsync();
        await container.DeleteAsync();
        Assert.That(HostProcess.Runs((int)container.Pid), Is.False);
    }

    [Test]
    public async Task Create_SameIdTwiceAtOnce_OneSucceeds()
    {
        var bundles = Enumerable.Range(0, 6).Select(_ => Supervisor.NewBundle().Write()).ToList();
        var outcomes = await Task.WhenAll(bundles.Select(async bundle =>
        {
            using var call = Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "one", BundlePath = bundle.Path });
            return (await Refusal.OutcomeAsync(call)).StatusCode;
        }));
        Assert.That(outcomes.Count(code => code == StatusCode.OK), Is.EqualTo(1));
        Assert.That(outcomes.Where(code => code != StatusCode.OK), Is.All.EqualTo(StatusCode.AlreadyExists));
    }

    [Test]
    public async Task Create_ManyAtOnce_AllRunIndependently()
    {
        var containers = await Task.WhenAll(Enumerable.Range(0, 12).Select(n => TestContainer.RunAsync(Supervisor, b => b.Script($"sleep 0.2; exit {n}"))));
        var exits = await Task.WhenAll(containers.Select(container => container.WaitAsync()));
        Assert.That(exits.Select(exit => exit.Status), Is.EqualTo(Enumerable.Range(0, 12).Select(n => (uint)n)));
        await Task.WhenAll(containers.Select(container => container.DeleteAsync()));
    }

    private async Task<IEnumerable<string>> ListAsync(params string[] owners) =>
        (await Supervisor.Containers.ListContainersAsync(new ListContainersRequest { Owner = { owners } })).Containers.Select(c => c.Id);
}
