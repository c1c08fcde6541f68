using System.Text;
using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.EndToEnd;

/// <summary>Files that a bad disk or a loss of power has damaged: the supervisor starts, containers go on, and nothing is made up.</summary>
public sealed class DamageTests : SupervisorTests
{
    private const string Traps = "trap 'exit 42' TERM; while :; do sleep 0.1; done";

    [TestCase("garbage")]
    [TestCase("nuls")]
    [TestCase("empty")]
    [TestCase("directory")]
    public async Task EventLog_ContainersAreFoundAgainAndNumbersGoOn(string damage)
    {
        var running = await TestContainer.RunAsync(Supervisor, b => b.Script(Traps));
        var ended = await TestContainer.RunAsync(Supervisor, b => b.Script("exit 17"));
        await ended.WaitAsync();
        var newest = (await Supervisor.Control.InfoAsync(new InfoRequest())).NewestSequence;
        await Supervisor.KillHardAsync();
        var segment = Directory.GetFileSystemEntries(Path.Combine(Supervisor.Root, "events"), "*.events").Max(StringComparer.Ordinal)!;
        Damage(segment, damage);
        await Supervisor.StartAgainAsync();

        Assert.That(await running.StatusAsync(), Is.EqualTo(Status.Running));
        Assert.That((await running.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
        Assert.That(await ended.StatusAsync(), Is.EqualTo(Status.Stopped));
        Assert.That((await ended.WaitAsync()).Status, Is.EqualTo(17u));
        var info = await Supervisor.Control.InfoAsync(new InfoRequest());
        Assert.That(info.NewestSequence, Is.GreaterThan(newest));
        Assert.That(info.Degraded, Has.Some.Contains(segment));
        Assert.That(Supervisor.Log, Does.Contain(segment));
        await running.SignalAsync(running.Pid, 15);
        Assert.That((await running.WaitAsync()).Status, Is.EqualTo(42u));

        // The next start finds nothing wrong behind the place.
        await Supervisor.RestartAsync(hard: true);
        Assert.That((await running.WaitAsync()).Status, Is.EqualTo(42u));
        await running.DeleteAsync();
        await using var replay = EventRecorder.After(Supervisor, newest);
        await replay.WaitForAsync(e => e.ContainerId == running.Id && e.Type == EventType.Deleted && e.Init, Poll.Deadline);
        var numbers = replay.Events.Select(e => e.Sequence).ToList();
        Assert.That(numbers, Is.Ordered.And.Unique);
        Assert.That(numbers[0], Is.GreaterThan(newest));
    }

    [TestCase("garbage")]
    [TestCase("nuls")]
    [TestCase("empty")]
    [TestCase("directory")]
    [TestCase("gone")]
    public async Task ContainerJson_ShimLives_TheContainerGoesOn(string damage)
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Owner("ann").Script(Traps));
        var before = await container.InspectAsync();
        await Supervisor.KillHardAsync();
        var path = Path.Combine(before.Shim.StateDirectory, "container.json");
        Damage(path, damage);
        await Supervisor.StartAgainAsync();

        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
        var after = await container.InspectAsync();
        Assert.That((after.Shim.Pid, after.Bundle), Is.EqualTo((before.Shim.Pid, before.Bundle)), "the same shim, and what it knows");
        Assert.That(after.Owners, Is.EqualTo(before.Owners));
        Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
        Assert.That(damage == "gone" || Supervisor.Log.Contains(path, StringComparison.Ordinal), Is.True, "the path is named");
        await Supervisor.RestartAsync();
        await container.SignalAsync(container.Pid, 15);
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(42u));
    }

    [Test]
    public async Task ContainerJson_ShimIsDeadToo_UnknownAndNothingIsLeft()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var shim = (await container.InspectAsync()).Shim;
        await Supervisor.KillHardAsync();
        Damage(Path.Combine(shim.StateDirectory, "container.json"), "nuls");
        _ = Syscall.kill((int)shim.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim is dead");
        await Supervisor.StartAgainAsync();
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(20))).Exit;
        Assert.That((exit.Status, exit.Reason), Is.EqualTo((255u, ExitReason.Unknown)).Or.EqualTo((137u, ExitReason.ShimLost)), "never an invented status");
        await Poll.Until(() => !HostProcess.Runs((int)container.Pid), Poll.Deadline, "the container's end");
        await container.DeleteAsync();
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Journal_TheExitIsUnreadableAndTheShimDead_Unknown()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(Supervisor, b => b.Bind(directory).Script("while [ ! -e /host/end ]; do usleep 10000; done; exit 44"));
        var shim = (await container.InspectAsync()).Shim;
        var journal = Path.Combine(shim.StateDirectory, "journal");
        await Supervisor.KillHardAsync();
        await File.WriteAllTextAsync(Path.Combine(directory, "end"), "");
        await Poll.Until(() => File.ReadAllText(journal).Contains("\"Exit\"", StringComparison.Ordinal), Poll.Deadline, "the exit is written down");
        _ = Syscall.kill((int)shim.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim is dead");
        var lines = await File.ReadAllLinesAsync(journal);
        await File.WriteAllLinesAsync(journal, lines.Select(line => line.Contains("\"Exit\"", StringComparison.Ordinal) ? "\0\0\0\0\0\0\0\0" : line));
        await Supervisor.StartAgainAsync();
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(20))).Exit;
        Assert.That((exit.Status, exit.Reason), Is.EqualTo((255u, ExitReason.Unknown)));
        Assert.That(Supervisor.Log, Does.Contain($"{journal} is damaged: 8 bytes at offset"));
        await container.DeleteAsync();
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(1));
    }

    [TestCase("one line")]
    [TestCase("directory")]
    public async Task Journal_ShimIsToBeReplaced_GoesOnOrEnds(string damage)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Annotation("containerd.io/on-shim-loss", "adopt").Script(Traps));
        await container.ShellAsync("exit 1");
        var shim = (await container.InspectAsync()).Shim;
        var journal = Path.Combine(shim.StateDirectory, "journal");
        await Supervisor.KillHardAsync();
        _ = Syscall.kill((int)shim.Pid, Signum.SIGKILL);
        await Poll.Until(() => !HostProcess.Runs((int)shim.Pid), Poll.Deadline, "the shim is dead");
        if (damage == "one line")
        {
            // The last one, which the supervisor has recorded already: its number must not be given again.
            var lines = await File.ReadAllLinesAsync(journal);
            await File.WriteAllLinesAsync(journal, [.. lines[..^1], "garbage"]);
        }
        else
        {
            Damage(journal, damage);
        }

        await Supervisor.StartAgainAsync();
        if (damage == "one line")
        {
            await Poll.Until(async () => (await container.ShellAsync("exit 5")).Status == 5, Poll.Deadline, "an exec in the adopted container");
            await container.SignalAsync(container.Pid, 15);
            Assert.That((await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline)).Exit.Status, Is.EqualTo(42u));
        }
        else
        {
            var exit = (await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(20))).Exit;
            Assert.That((exit.Status, exit.Reason), Is.EqualTo((137u, ExitReason.ShimLost)));
        }

        await container.DeleteAsync();
        Assert.That(events.ExitsOf(container.Id).Count(e => e.Init), Is.EqualTo(1));
    }

    private static void Damage(string path, string how)
    {
        switch (how)
        {
            case "garbage":
                var lines = File.ReadAllLines(path);
                lines[lines.Length / 2] = "\u00a7 garbage";
                File.WriteAllLines(path, lines);
                break;
            case "nuls":
                File.WriteAllBytes(path, [.. Encoding.ASCII.GetBytes(new string('\0', 300)), (byte)'\n']);
                break;
            case "empty":
                File.WriteAllBytes(path, []);
                break;
            case "directory":
                File.Delete(path);
                Directory.CreateDirectory(path);
                break;
            case "gone":
                File.Delete(path);
                break;
        }
    }
}
