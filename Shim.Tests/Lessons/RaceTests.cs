using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.FakeRunc;
using Shim.Tests.Support;
using Process = Containerd.V1.Process;

namespace Shim.Tests.Lessons;

/// <summary>Section C of LESSONS.md: lifecycle races and locks. Rows 60 and 64 are in Api/FaultyRuntimeTests.</summary>
public sealed class RaceTests : SupervisorTests
{
    private readonly FakeRuntime _runtime = new();

    /// <inheritdoc/>
    protected override SupervisorSettings Settings => new() { Runtime = _runtime.Path };

    [TearDown]
    public void RemoveFaults() => _runtime.Clear();

    [OneTimeTearDown]
    public void RemoveRuntime() => _runtime.Dispose();

    /// <summary>Row 62: a runtime whose kill, state, list and ps hang concerns nobody.</summary>
    [Test]
    public async Task RuntimeHangsInWhatWeDoNotNeed_EverythingWorks()
    {
        _runtime.Set("hang:kill", "hang:state", "hang:list", "hang:ps", "hang:events");
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sleep", "1000");
        await container.SignalAsync(exec, 15);
        Assert.That((await container.WaitAsync(exec)).Status, Is.EqualTo(143u));
        await container.ProcessesAsync();
        await container.PauseAsync();
        Assert.That((await container.KillAsync()).Status, Is.EqualTo(137u), "also while it is paused");
        await container.DeleteAsync();
    }

    /// <summary>Row 62: a verb that hangs holds up its own caller only; signals, reads and other containers go on, and a deletion ends it.</summary>
    [TestCase("pause")]
    [TestCase("update")]
    public async Task VerbHangs_OthersAnswer_AndDeletionWorks(string verb)
    {
        var (container, other) = (await TestContainer.RunAsync(Supervisor), await TestContainer.RunAsync(Supervisor));
        var exec = await container.ExecAsync("sleep", "1000");
        _runtime.Set($"hang:{verb}");
        var hanging = verb == "pause"
            ? Supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = container.Id })
            : Supervisor.Containers.UpdateContainerAsync(new UpdateContainerRequest { ContainerId = container.Id, BundlePath = container.Bundle.Path });
        await Poll.Until(() => _runtime.CountOf(verb) >= 1, Poll.Deadline, "it hangs");
        var limit = TimeSpan.FromSeconds(5);
        await container.SignalAsync(exec, 9).WithinAsync(limit, "a signal beside a hanging verb");
        Assert.That((await container.WaitAsync(exec).WithinAsync(limit, "an exit beside a hanging verb")).Status, Is.EqualTo(137u));
        await container.ProcessesAsync().WithinAsync(limit, "a list of processes beside a hanging verb");
        await container.StatusAsync().WithinAsync(limit, "a read beside a hanging verb");
        Assert.That((await other.ShellAsync("exit 4").WithinAsync(limit, "an exec elsewhere")).Status, Is.EqualTo(4u));
        await container.DeleteAsync().WithinAsync(TimeSpan.FromSeconds(30), "a deletion beside a hanging verb");
        Assert.That((await Refusal.OutcomeAsync(hanging)).StatusCode, Is.Not.EqualTo(StatusCode.OK));
        Assert.That(HostProcess.Mentioning(Supervisor.RuntimeRoot).Where(p => p.CommandLine.Contains($" {verb} ", StringComparison.Ordinal)), Is.Empty, "the runtime was ended");
    }

    /// <summary>Row 62: a verb that hangs is ended at its deadline, its caller is told so, and the container works as before.</summary>
    [Test]
    [Category("Soak")]
    public async Task VerbHangs_ItsRuntimeIsKilledAtItsDeadline()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        _runtime.Set("hang:pause");
        await Refusal.ExpectAsync(Supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = container.Id }), StatusCode.DeadlineExceeded);
        Assert.That(HostProcess.Mentioning(Supervisor.RuntimeRoot).Where(p => p.CommandLine.Contains(" pause ", StringComparison.Ordinal)), Is.Empty);
        _runtime.Clear();
        Assert.That(await container.StatusAsync(), Is.EqualTo(Containerd.V1.Status.Running));
        await container.PauseAsync();
        await container.ResumeAsync();
        Assert.That((await container.ShellAsync("exit 4")).Status, Is.EqualTo(4u));
    }

    /// <summary>Row 68: deletions, kills and exits at the same time as the shim's end; it ends with status 0 all the same.</summary>
    [TestCase(8)]
    [TestCase(2000, Category = "Soak")]
    public async Task ShutdownInTheMiddleOfEverything_EndsInOrder(int rounds)
    {
        for (var round = 0; round < rounds; round++)
        {
            await using var shim = await ShimCalls.StartWithContainerAsync(b => b.Script($"usleep {(round % 8) * 3000}; exit 1"));
            await Task.WhenAll(
                Refusal.OutcomeAsync(shim.Client.KillAsync(new Containerd.Shim.V1.KillRequest { Signal = 9 })),
                Refusal.OutcomeAsync(shim.Client.DeleteAsync(new Containerd.Shim.V1.DeleteRequest())),
                Refusal.OutcomeAsync(shim.Client.DeleteAsync(new Containerd.Shim.V1.DeleteRequest())),
                Refusal.OutcomeAsync(shim.Client.WaitAsync(new Containerd.Shim.V1.WaitRequest())),
                Refusal.OutcomeAsync(shim.Client.ShutdownAsync(new Containerd.Shim.V1.ShutdownRequest())));
            await Refusal.OutcomeAsync(shim.Client.ShutdownAsync(new Containerd.Shim.V1.ShutdownRequest()));
            await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the end of the shim");
            Assert.That(shim.ExitCode, Is.Zero, shim.Log);
        }
    }

    /// <summary>Row 72: failing execs leave nothing in the bundle, and each of many at once gets its own error.</summary>
    [TestCase(24)]
    [TestCase(2000, Category = "Soak")]
    public async Task FailingExecs_EachGetsItsOwnError_AndNothingPilesUp(int count)
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var before = Size();
        for (var done = 0; done < count; done += 8)
        {
            await Task.WhenAll(Enumerable.Range(done, 8).Select(n => Refusal.ExpectAsync(
                Supervisor.Containers.StartProcessAsync(new StartProcessRequest { ContainerId = container.Id, Process = new Process { Args = { $"/no-such-{n}-program" } } }),
                StatusCode.InvalidArgument,
                [$"/no-such-{n}-program"])));
        }

        Assert.That(Size(), Is.EqualTo(before), "files of the bundle and of the shim, without its log");
        long Size() => new[] { container.Bundle.Path, Path.Combine(Supervisor.Root, "c", container.Id) }
            .SelectMany(directory => Directory.GetFiles(directory, "*", SearchOption.AllDirectories))
            .Where(path => Path.GetFileName(path) != "shim.log").Sum(path => new FileInfo(path).Length);
    }
}
