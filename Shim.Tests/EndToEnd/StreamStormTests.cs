using System.Diagnostics;
using Containerd.Shim.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Tests.Tasks;

namespace Shim.Tests.EndToEnd;

/// <summary>The same thing very often: nothing slows down, nothing piles up.</summary>
public sealed class StreamStormTests
{
    private const int SignalsPerMillisecond = 200;

    [TestCase(20)]
    [TestCase(500, Category = "Soak")]
    public async Task Signals_TwoHundredThousandASecond_ExitsAreSeenAllTheSame(int execs)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        using var storm = new SignalStorm(shim.ProcessId);
        var waits = new List<TimeSpan>();
        for (var i = 0; i < execs; i++)
        {
            var exec = await shim.Client.ExecAsync(ShimCalls.Shell("exit 3"));
            var watch = Stopwatch.StartNew();
            Assert.That((await shim.EndOfAsync(exec.Pid)).Status, Is.EqualTo(3u));
            waits.Add(watch.Elapsed);
            await shim.DeleteAsync(exec.Pid);
        }

        waits.Sort();
        TestContext.Out.WriteLine($"{storm.Sent} signals; exits known after {waits[waits.Count / 2].TotalMilliseconds:0} ms, {waits[^1].TotalMilliseconds:0} ms at most");
        Assert.That(storm.Sent, Is.GreaterThan(execs * 100), "there was no storm");
        Assert.That(waits[waits.Count / 2], Is.LessThan(TimeSpan.FromSeconds(1)));
        Assert.That(waits[^1], Is.LessThan(TimeSpan.FromSeconds(5)));
    }

    [TestCase(100)]
    [TestCase(1000, Category = "Soak")]
    public async Task Terminals_OneAfterTheOther_NoDescriptorStays(int execs)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var before = 0;
        for (var i = 0; i < execs; i++)
        {
            using var reader = new FifoReader(shim.PathOf($"out{i}"));
            await shim.RunAsync(new ExecRequest { Terminal = true, Args = { "tty" }, Stdout = reader.Path });
            Assert.That(await reader.ReadTextAsync(Poll.Deadline), Does.StartWith("/dev/pts/"));
            File.Delete(reader.Path);

            // The first one has brought the event loop with it.
            before = i == 0 ? ProcessCost.Descriptors(shim.ProcessId) : before;
        }

        await Poll.For(() => ProcessCost.Descriptors(shim.ProcessId), count => count <= before, Poll.Deadline, $"descriptors, {before} after the first one");
    }

    [TestCase(50)]
    [TestCase(500, Category = "Soak")]
    public async Task Logs_OneAfterTheOther_NoDescriptorAndNoThreadStays(int execs)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var (descriptors, threads) = (0, 0);
        for (var i = 0; i < execs; i++)
        {
            var request = ShimCalls.Shell("echo out; echo err >&2");
            request.Stdout = request.Stderr = $"log://{shim.PathOf($"log{i}")}?on-full={(i % 2 == 0 ? "block" : "drop")}";
            await shim.RunAsync(request);
            Assert.That(CriLog.ReadAll(shim.PathOf($"log{i}")).Count(), Is.EqualTo(2));
            if (i == 1)
            {
                (descriptors, threads) = (ProcessCost.Descriptors(shim.ProcessId), ProcessCost.Threads(shim.ProcessId));
            }
        }

        await Poll.For(() => ProcessCost.Descriptors(shim.ProcessId), count => count <= descriptors, Poll.Deadline, $"descriptors, {descriptors} after the second one");

        // The runtime's own threads come and go.
        await Poll.For(() => ProcessCost.Threads(shim.ProcessId), count => count <= threads + 3, Poll.Deadline, $"threads, {threads} after the second one");
    }

    [TestCase("disk", 300)]
    [TestCase("fifo", 300)]
    [TestCase("disk", 20_000, Category = "Soak")]
    [TestCase("fifo", 20_000, Category = "Soak")]
    public async Task ShimLog_TakenByNobody_ExecsGoOnAndLinesAreCounted(string log, int execs)
    {
        using var disk = new SmallDisk(64);
        using var fifo = new UnreadFifo(disk.File("fifo"));
        await using var shim = await ShimFixture.StartLoggingToAsync(log == "disk" ? disk.File("stderr") : fifo.Path, null, "--debug");
        disk.Fill();
        await shim.RunContainerAsync();
        var missing = execs;
        await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
        {
            while (Interlocked.Decrement(ref missing) >= 0)
            {
                await shim.RunAsync(new ExecRequest { Args = { "true" } });
            }
        }));
        var dropped = (await shim.Client.DumpAsync(new DumpRequest())).Gauges["log_lines_dropped"];
        Assert.That(dropped, log == "disk" || execs > 1000 ? Is.GreaterThan(execs / 10) : Is.GreaterThanOrEqualTo(0));
        if (log == "disk")
        {
            // It finds its voice again.
            disk.Empty();
            await shim.RunAsync(new ExecRequest { Args = { "true" } });
            Assert.That(new FileInfo(disk.File("stderr")).Length, Is.GreaterThan(0));
        }
    }

    /// <summary>Sends SIGPIPE and SIGCHLD to a process, as many as it is meant to, or as many as this machine can.</summary>
    private sealed class SignalStorm : IDisposable
    {
        private readonly Thread _thread;
        private volatile bool _ending;
        private long _sent;

        internal SignalStorm(int pid)
        {
            _thread = new Thread(() =>
            {
                var watch = Stopwatch.StartNew();
                while (!_ending)
                {
                    for (var i = 0; i < SignalsPerMillisecond / 2; i++)
                    {
                        _ = Syscall.kill(pid, Signum.SIGPIPE);
                        _ = Syscall.kill(pid, Signum.SIGCHLD);
                    }

                    Interlocked.Add(ref _sent, SignalsPerMillisecond);
                    if (_sent > watch.ElapsedMilliseconds * SignalsPerMillisecond)
                    {
                        Thread.Sleep(1);
                    }
                }
            });
            _thread.Start();
        }

        internal long Sent => Interlocked.Read(ref _sent);

        public void Dispose()
        {
            _ending = true;
            _thread.Join();
        }
    }
}
