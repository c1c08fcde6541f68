using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>A container that lives long and runs many processes does not fill the disk, and nothing is lost for that.</summary>
public sealed class JournalGrowthTests : SupervisorTests
{
    private const int AtOnce = 8;

    [Test]
    public Task ManyExecs_TheJournalStaysSmallAndNothingIsLost() => RunAsync(200, 120_000);

    [Test]
    [Category("Soak")]
    public Task TwentyThousandExecs_TheJournalStaysSmallAndNothingIsLost() => RunAsync(20_000, 200_000);

    [Test]
    public async Task Recorded_ByHandOfAShimAlone_IsTaken()
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        for (var i = 0; i < 70; i++)
        {
            await shim.RunAsync(ShimCalls.Shell(":"));
        }

        var journal = shim.PathOf("journal");
        var before = new FileInfo(journal).Length;
        await shim.Client.RecordedAsync(new Containerd.Shim.V1.RecordedRequest { Sequence = ulong.MaxValue });
        await Poll.Until(() => new FileInfo(journal).Length < before / 4, Poll.Deadline, "the journal is rewritten");
        using var events = shim.Client.Events(new Containerd.Shim.V1.EventsRequest { NoFollow = true });
        var left = new List<Containerd.Shim.V1.EventType>();
        while (await events.ResponseStream.MoveNext(default))
        {
            left.Add(events.ResponseStream.Current.Type);
        }

        Assert.That(left, Is.EqualTo(new[] { Containerd.Shim.V1.EventType.Create, Containerd.Shim.V1.EventType.Start }));
        Assert.That((await shim.Client.StateAsync(new Containerd.Shim.V1.StateRequest())).Sequence, Is.EqualTo(2 + (4 * 70)));
    }

    private async Task RunAsync(int execs, long limit)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.Annotation("containerd.io/on-shim-loss", "adopt"));
        var details = await container.InspectAsync();
        var journal = Path.Combine(details.Shim.StateDirectory, "journal");
        var kept = await container.ExecAsync("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done");
        var most = 0L;
        await Parallel.ForEachAsync(Enumerable.Range(0, execs), new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (i, cancel) =>
        {
            Assert.That((await container.ShellAsync($"exit {i % 100}")).Status, Is.EqualTo((uint)(i % 100)));
            var length = new FileInfo(journal).Length;
            for (var seen = Interlocked.Read(ref most); length > seen; seen = Interlocked.Read(ref most))
            {
                _ = Interlocked.CompareExchange(ref most, length, seen);
            }
        });
        TestContext.Out.WriteLine($"{execs} execs: the journal had {most} bytes at most, and {new FileInfo(journal).Length} at the end");
        Assert.That(most, Is.LessThan(limit));
        Assert.That(await File.ReadAllTextAsync(journal), Does.StartWith("{\"recorded\":"), "what this is about");

        // The supervisor, then the shim: whoever comes back finds everything that he needs in what is left.
        await Supervisor.RestartAsync(hard: true);
        Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
        var lost = details.Shim.Pid;
        _ = Syscall.kill((int)lost, Signum.SIGKILL);
        await Poll.Until(
            async () => (await container.InspectAsync()).Shim is var shim && shim.Pid != lost && shim.Trouble.Length == 0, Poll.Deadline, "a new shim");
        await container.SignalAsync(kept, 15);
        Assert.That((await container.WaitAsync(kept)).Status, Is.EqualTo(7u));
        await container.DeleteAsync();
        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Deleted && e.Init, TimeSpan.FromMinutes(1));
        events.AssertOrder();
        Assert.That(events.ExitsOf(container.Id), Has.Count.EqualTo(execs + 3));
    }
}
