using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.FakeRunc;
using Shim.Tests.Support;

namespace Shim.Tests.Lessons;

/// <summary>Section A of LESSONS.md: reaping and exit status.</summary>
public sealed class ReapingTests : SupervisorTests
{
    private readonly FakeRuntime _runtime = new();

    /// <inheritdoc/>
    protected override SupervisorSettings Settings => new() { Runtime = _runtime.Path };

    [TearDown]
    public void RemoveFaults() => _runtime.Clear();

    [OneTimeTearDown]
    public void RemoveRuntime() => _runtime.Dispose();

    /// <summary>Row 17: the init is another process's child. Its end is noticed at once; its status is the true one or unknown, never 0.</summary>
    [Test]
    public async Task InitIsNotOurChild_ItsEndIsNoticed_NeverAsZero()
    {
        _runtime.Set("double-fork");
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script("trap 'exit 9' TERM; while :; do usleep 20000; done"));
        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        Assert.That(HostProcess.Read((int)container.Pid)!.Parent, Is.Not.EqualTo(shim), "the fault is there");
        Assert.That((await container.ShellAsync("exit 5")).Status, Is.EqualTo(5u));
        await container.SignalAsync(container.Pid, 15);
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(5))).Exit;
        Assert.That((exit.Status, exit.Reason), Is.EqualTo((9u, ExitReason.Exited)).Or.EqualTo((255u, ExitReason.Unknown)));
        await container.DeleteAsync();
    }

    /// <summary>Row 30: a program that is not there makes the creation fail with the runtime's words, and nothing has exited.</summary>
    [Test]
    public async Task MissingProgram_FailsInTheRuntimesWords_AndNothingExits()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var message = await Refusal.ExpectAsync(
            Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "nope", BundlePath = Supervisor.NewBundle().Args("/nope").Write().Path }),
            StatusCode.InvalidArgument);
        Assert.That(message, Does.Contain("/nope"));
        var other = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 3"));
        await other.WaitAsync();
        await events.WaitForExitAsync(other.Id, other.Pid, Poll.Deadline);
        Assert.That(events.Of("nope"), Is.Empty);

        // And a shim that is killed after the exit causes no second one.
        _ = Syscall.kill((int)(await other.InspectAsync()).Shim.Pid, Signum.SIGKILL);
        await Poll.Until(async () => (await other.InspectAsync()).Shim.Trouble == "lost", Poll.Deadline, "the loss is noticed");
        await other.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == other.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        Assert.That(events.ExitsOf(other.Id).Select(e => e.Exit.Status), Is.EqualTo(new[] { 3u }));
    }
}
