using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Lessons;

/// <summary>Section D of LESSONS.md: daemon restart and reconnect. Rows 77, 78, 84 and 87 are in EndToEnd/RestartTests.</summary>
public sealed class RestartedDaemonTests
{
    /// <summary>Row 80: some shims are mute. The API is up in time, the others work, the mute ones are named, and work again when they wake.</summary>
    [TestCase(6, 2)]
    [TestCase(100, 5, Category = "Soak")]
    public async Task MuteShims_DoNotHoldUpTheStart_AndRecover(int count, int mute)
    {
        await using var supervisor = await SupervisorFixture.StartAsync();
        var containers = new List<TestContainer>();
        for (var n = 0; n < count; n++)
        {
            containers.Add(await TestContainer.RunAsync(supervisor));
        }

        var stopped = await Task.WhenAll(containers.Take(mute).Select(async container => (int)(await container.InspectAsync()).Shim.Pid));
        foreach (var shim in stopped)
        {
            _ = Syscall.kill(shim, Signum.SIGSTOP);
        }

        try
        {
            await supervisor.RestartAsync(hard: true).WithinAsync(TimeSpan.FromSeconds(15), "a restart beside mute shims");
            await Task.WhenAll(containers.Skip(mute).Take(20).Select(async container => Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u))));
            var list = await supervisor.Containers.ListContainersAsync(new ListContainersRequest());
            Assert.That(list.Containers.Count(container => container.Status == Status.Running), Is.EqualTo(count));
            var details = await supervisor.Control.InspectAsync(new InspectRequest { NoProcesses = true });
            Assert.That(details.Containers.Where(container => container.Shim.Trouble == "unresponsive").Select(container => (int)container.Shim.Pid), Is.EquivalentTo(stopped));
        }
        finally
        {
            foreach (var shim in stopped)
            {
                _ = Syscall.kill(shim, Signum.SIGCONT);
            }
        }

        foreach (var container in containers.Take(mute))
        {
            Assert.That((await container.ShellAsync("exit 4")).Status, Is.EqualTo(4u));
            Assert.That((await container.InspectAsync()).Shim.Trouble, Is.Empty);
        }
    }

    /// <summary>A deletion waits for a mute shim, and the supervisor dies: its successor goes on with it.</summary>
    [Test]
    public async Task DeletionOfAMuteShim_IsFinishedByTheNextSupervisor()
    {
        await using var supervisor = await SupervisorFixture.StartAsync();
        var container = await TestContainer.RunAsync(supervisor);
        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        _ = Syscall.kill(shim, Signum.SIGSTOP);
        var deletion = container.DeleteAsync();
        var record = Path.Combine(supervisor.Root, "c", container.Id, "container.json");
        await Poll.Until(() => File.ReadAllText(record).Contains("\"deleting\": true", StringComparison.Ordinal), Poll.Deadline, "the intent is on disk");
        await supervisor.KillHardAsync();
        Assert.That(async () => await deletion, Throws.Exception);
        await supervisor.StartAgainAsync();
        _ = Syscall.kill(shim, Signum.SIGCONT);
        await Poll.Until(() => !Directory.Exists(Path.GetDirectoryName(record)), Poll.Deadline, "the deletion goes on by itself");
        await Poll.Until(() => !HostProcess.Runs(shim) && !HostProcess.Runs((int)container.Pid), Poll.Deadline, "its processes are gone");
        await supervisor.AssertNothingLeftAsync();
    }

    /// <summary>Row 85: the shim's executable is replaced while shims run, and so is the supervisor's: old and new ones understand each other.</summary>
    [TestCase(3)]
    [TestCase(50, Category = "Soak")]
    public async Task ExecutableReplacedWhileShimsRun_OldAndNewWorkTogether(int count)
    {
        var directory = TestRun.NewDirectory("upgrade");
        try
        {
            var path = Path.Combine(directory, "shim");
            File.Copy(Path.Combine(TestRun.Binaries, "shim"), path);
            await using (var supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Shim = path }))
            {
                var old = new List<TestContainer>();
                for (var n = 0; n < count; n++)
                {
                    old.Add(await TestContainer.RunAsync(supervisor, b => b.Annotation("containerd.io/on-shim-loss", "adopt")));
                }

                File.Copy(Path.Combine(TestRun.Binaries, "shim"), path + ".new");
                File.Move(path + ".new", path, overwrite: true);
                var young = await TestContainer.RunAsync(supervisor);
                await supervisor.RestartAsync();
                foreach (var container in old.Append(young))
                {
                    Assert.That((await container.ShellAsync("exit 6")).Status, Is.EqualTo(6u));
                }

                var before = (int)(await old[0].InspectAsync()).Shim.Pid;
                Assert.That(new FileInfo($"/proc/{before}/exe").LinkTarget, Does.EndWith("(deleted)"), "an old one runs what is no longer there");

                // A new one takes over what an old one has written.
                _ = Syscall.kill(before, Signum.SIGKILL);
                await Poll.Until(async () => (await old[0].InspectAsync()).Shim is { Trouble: "" } shim && shim.Pid != before, Poll.Deadline, "a new shim");
                Assert.That((await old[0].ShellAsync("exit 7")).Status, Is.EqualTo(7u));
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }
}
