using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Api;

/// <summary>Every way to end is reported exactly once and truthfully.</summary>
public sealed class ExitStatusTests : SupervisorTests
{
    private const int AtOnce = 20;

    [Test]
    public async Task Exec_EveryExitCode_IsReportedTrue()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var reported = await ForEachAsync(Enumerable.Range(0, 256), async code =>
        {
            var pid = await container.ExecAsync("sh", "-c", $"exit {code}");
            var exit = await container.WaitAsync(pid);
            var listed = (await container.ProcessAsync(pid)).ExitStatus;
            await container.DeleteProcessAsync(pid);
            return (exit.Status, exit.Signal, exit.Reason, listed);
        });
        Assert.That(reported, Is.EqualTo(Enumerable.Range(0, 256).Select(code => ((uint)code, 0u, ExitReason.Exited, (uint)code))));

        await events.WaitForAsync(e => events.ExitsOf(container.Id).Count == 256, Poll.Deadline, "256 exit events");
        Assert.That(events.ExitsOf(container.Id).Select(e => e.Exit.Status).Order(), Is.EqualTo(Enumerable.Range(0, 256)));
        events.AssertOrder();
    }

    [Test]
    public async Task Exec_EveryDeadlySignal_IsReportedTrue()
    {
        // All whose default is to end the process: no CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH; 32 and 33 belong to libc.
        int[] signals = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 50, 64];
        var container = await TestContainer.RunAsync(Supervisor);
        var reported = await ForEachAsync(signals, async signal =>
        {
            var pid = await container.ExecAsync("sleep", "1000");
            await container.SignalAsync(pid, signal);
            var exit = await container.WaitAsync(pid);
            return ((int)exit.Signal, (int)exit.Status, exit.Reason);
        });
        Assert.That(reported, Is.EqualTo(signals.Select(signal => (signal, 128 + signal, ExitReason.Signaled))));
    }

    [Test]
    public async Task Init_KilledFromOutside_SignalIsReported()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        _ = Mono.Unix.Native.Syscall.kill((int)container.Pid, Mono.Unix.Native.Signum.SIGKILL);
        var exit = await container.WaitAsync();
        Assert.That((exit.Status, exit.Signal, exit.Reason), Is.EqualTo((137u, 9u, ExitReason.Signaled)));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Init_KilledBeforeStart_ExitIsReported()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.CreateAsync(Supervisor);
        await container.SignalAsync(container.Pid, 9);
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(137u));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
        await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        events.AssertOrder();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Exit_Measures_ArePlausible()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var before = DateTime.UtcNow;
        var exit = await container.ShellAsync("i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done");
        Assert.That(exit.Status, Is.Zero);
        Assert.That(exit.UserCpuUs, Is.InRange(1_000UL, 20_000_000UL));
        Assert.That(exit.MaxRssKib, Is.InRange(100UL, 200_000UL));
        Assert.That(exit.Time.ToDateTime(), Is.InRange(before, DateTime.UtcNow));
        Assert.That(exit.CoreDumped, Is.False);
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Init_OutOfMemory_ReasonAndEventSaySo()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.MemoryLimit(16 << 20).Script("x=x; while :; do x=$x$x; done"));
        var exit = await container.WaitAsync();
        Assert.That((exit.Status, exit.Signal, exit.Reason), Is.EqualTo((137u, 9u, ExitReason.OomKilled)));
        var end = await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
        var oom = events.Of(container.Id).Single(e => e.Type == EventType.Oom);
        Assert.That(oom.Sequence, Is.LessThan(end.Sequence));
        Assert.That(exit.Message, Does.Contain(container.Bundle.Cgroup), "the cgroup that ran out");
        events.AssertOrder();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task OutOfMemory_VictimIsNobodysManagedProcess_ReportedAtOnce()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.MemoryLimit(16 << 20).Script("sh -c 'x=x; while :; do x=$x$x; done'; sleep 1000000"));
        await events.WaitForAsync(e => e.ContainerId == container.Id && e.Type == EventType.Oom, Poll.Deadline);
        Assert.That(await container.StatusAsync(), Is.EqualTo(Containerd.V1.Status.Running));
        Assert.That((await container.ShellAsync("exit 3")).Status, Is.EqualTo(3u));
        await container.DeleteAsync();
        Assert.That(events.Of(container.Id).Count(e => e.Type == EventType.Oom), Is.EqualTo(1));
    }

    [Test]
    public async Task Runs_ManyThatEndAtOnce_EventsInOrder()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var ids = await ForEachAsync(Enumerable.Range(0, 60), async n =>
        {
            var container = await TestContainer.RunAsync(Supervisor, b => b.Script($"exit {n}"));
            Assert.That((await container.WaitAsync()).Status, Is.EqualTo((uint)n));
            await container.DeleteAsync();
            return container.Id;
        });
        await events.WaitForAsync(e => events.Events.Count(d => d.Type == EventType.Deleted) == ids.Count, Poll.Deadline, "all deletions");
        foreach (var (id, n) in ids.Select((id, n) => (id, n)))
        {
            Assert.That(events.ExitsOf(id).Select(e => e.Exit.Status), Is.EqualTo(new[] { (uint)n }));
        }

        events.AssertOrder();
    }

    [Test]
    public Task Execs_TwoThousandShort_EachExitOnce() => ShortExecsAsync(2_000);

    [Test]
    [Category("Soak")]
    public Task Execs_TwentyThousandShort_EachExitOnce() => ShortExecsAsync(20_000);

    private async Task ShortExecsAsync(int count)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor);
        var pids = await ForEachAsync(Enumerable.Range(0, count), async n =>
        {
            // Half of the clients wait, half look only at the events.
            var pid = await container.ExecAsync("true");
            if (n % 2 == 0)
            {
                Assert.That((await container.WaitAsync(pid)).Status, Is.Zero);
                await container.DeleteProcessAsync(pid);
            }

            return pid;
        });
        await Poll.For(() => events.ExitsOf(container.Id).Count, seen => seen >= count, Poll.Deadline, $"{count} exit events");
        var exits = events.ExitsOf(container.Id);
        Assert.That(exits, Has.Count.EqualTo(count));
        Assert.That(exits.Select(e => e.Exit.Status), Is.All.Zero);
        Assert.That(exits.Select(e => e.Pid).Order(), Is.EqualTo(pids.Order()), "every process's exit once; the kernel may have given a pid again");
        events.AssertOrder();
        await Supervisor.AssertNoZombiesAsync();
    }

    // AtOnce at a time, answers in the order of the questions.
    private static async Task<List<TResult>> ForEachAsync<T, TResult>(IEnumerable<T> items, Func<T, Task<TResult>> action)
    {
        var list = items.ToList();
        var results = new TResult[list.Count];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, list.Count),
            new ParallelOptions { MaxDegreeOfParallelism = AtOnce },
            async (n, _) => results[n] = await action(list[n]));
        return [.. results];
    }
}
