using System.Diagnostics;
using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Tests.Tasks;
using Process = System.Diagnostics.Process;
using Status = Containerd.V1.Status;

namespace Shim.Tests.EndToEnd;

/// <summary>The disk under the root is full, or may not be written to: said clearly, and nothing is harmed or lost for it.</summary>
public sealed class DiskFullTests
{
    [Test]
    public async Task RootFull_ContainersUnharmedExitsComeLaterCreationsAreRefused()
    {
        using var disk = new SmallDisk(4096);
        await using var supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Root = disk.File("root") });
        await using var events = await EventRecorder.FromNowAsync(supervisor);
        var container = await TestContainer.RunAsync(supervisor, b => b.Script("trap 'exit 42' TERM; while :; do sleep 0.1; done"));
        var lost = await TestContainer.RunAsync(supervisor);
        var other = await TestContainer.RunAsync(supervisor);
        disk.Fill();

        await Refusal.ExpectAsync(
            supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "refused", BundlePath = supervisor.NewBundle().Write().Path }),
            StatusCode.ResourceExhausted,
            ["no space left", disk.Path]);
        Assert.That(Path.Exists(disk.File("root/c/refused")), Is.False);

        // What is left of the last pages may take a few events; then nothing goes any more.
        await Poll.Until(
            async () =>
            {
                var watch = Stopwatch.StartNew();
                _ = await Refusal.OutcomeAsync(supervisor.Containers.PauseContainerAsync(new PauseContainerRequest { Id = other.Id }));
                _ = await Refusal.OutcomeAsync(supervisor.Containers.ResumeContainerAsync(new ResumeContainerRequest { Id = other.Id }));
                return watch.Elapsed > TimeSpan.FromSeconds(1.8) || (await supervisor.Control.InfoAsync(new InfoRequest())).Degraded.Count > 0;
            },
            TimeSpan.FromSeconds(60),
            "the first event that cannot be written");
        Assert.That(await other.StatusAsync(), Is.EqualTo(Status.Running).Or.EqualTo(Status.Paused));

        _ = Syscall.kill((int)container.Pid, Signum.SIGTERM);
        _ = Syscall.kill((int)(await lost.InspectAsync()).Shim.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)container.Pid), Poll.Deadline, "the container ends");
        Assert.That(HostProcess.Runs((int)other.Pid), Is.True);

        // Also a supervisor that comes now serves.
        await supervisor.RestartAsync(hard: true);
        await Refusal.ExpectAsync(
            supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "refused", BundlePath = supervisor.NewBundle().Write().Path }),
            StatusCode.ResourceExhausted,
            ["no space left", disk.Path]);

        disk.Empty();
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(42u), "the exit has waited");
        Assert.That((await lost.WaitAsync()).Reason, Is.EqualTo(ExitReason.ShimLost));
        await Poll.Until(async () => (await supervisor.Control.InfoAsync(new InfoRequest())).Degraded.Count == 0, Poll.Deadline, "nothing degraded any more");
        Assert.That((await (await TestContainer.RunAsync(supervisor, b => b.Script("exit 3"))).WaitAsync()).Status, Is.EqualTo(3u));
        foreach (var each in new[] { container, lost, other })
        {
            await each.DeleteAsync();
            await events.WaitForAsync(e => e.ContainerId == each.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
            Assert.That(events.ExitsOf(each.Id), Has.Count.EqualTo(1));
        }

        events.AssertOrder();
    }

    [Test]
    public async Task RootFull_Deletion_IsRefusedOrDoneButLosesNothing()
    {
        using var disk = new SmallDisk(4096);
        await using var supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Root = disk.File("root") });
        await using var events = await EventRecorder.FromNowAsync(supervisor);
        var containers = new List<TestContainer>();
        for (var i = 0; i < 3; i++)
        {
            containers.Add(await TestContainer.RunAsync(supervisor));
        }

        disk.Fill();
        foreach (var container in containers)
        {
            var outcome = await Refusal.OutcomeAsync(supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = container.Id }));
            Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.OK).Or.EqualTo(StatusCode.ResourceExhausted), outcome.Detail);
            Assert.That(HostProcess.Runs((int)container.Pid), Is.False, "it is ended either way");
        }

        disk.Empty();
        foreach (var container in containers)
        {
            await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, TimeSpan.FromSeconds(40));
            Assert.That(events.ExitsOf(container.Id).Select(e => e.Exit.Status), Is.EqualTo(new[] { 137u }));
        }

        await Poll.Until(() => !Directory.EnumerateFileSystemEntries(disk.File("root/c")).Any(), TimeSpan.FromSeconds(40), "the rest of the deletion");
        events.AssertOrder();
    }

    [Test]
    public async Task RootReadOnly_StartIsRefusedInOneLine()
    {
        using var disk = new SmallDisk(1024);
        Directory.CreateDirectory(disk.File("root"));
        await Process.Start("mount", ["-o", "remount,ro", disk.Path]).WaitForExitAsync().WithinAsync(Poll.Deadline, "the remount");
        using var supervisor = Process.Start(new ProcessStartInfo(Path.Combine(TestRun.Binaries, "supervisor"), ["serve", "--root", disk.File("root")])
        {
            RedirectStandardError = true,
        })!;
        await supervisor.WaitForExitAsync().WithinAsync(Poll.Deadline, "its end");
        Assert.That(supervisor.ExitCode, Is.EqualTo(125));
        var errors = (await supervisor.StandardError.ReadToEndAsync()).Trim();
        Assert.That(errors, Does.Contain(disk.File("root")).And.Contain("ead-only file system").And.Not.Contain("\n"));
    }
}
