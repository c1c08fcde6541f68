using System.Diagnostics;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>Whoever started a container may stand still or be gone: the container's output flows on.</summary>
public sealed class StalledSupervisorTests : SupervisorTests
{
    // About 1 MB/s.
    private const string Writing = "while :; do head -c 100000 /dev/zero | tr '\\0' x; echo; sleep 0.1; done";

    private static readonly TimeSpan s_gap = TimeSpan.FromSeconds(2);

    [TestCase("file", Signum.SIGSTOP)]
    [TestCase("file", Signum.SIGKILL)]
    [TestCase("log", Signum.SIGSTOP)]
    [TestCase("log", Signum.SIGKILL)]
    public Task SupervisorStops_OutputFlowsOn(string kind, Signum signal) => FlowsOnAsync(kind, signal, () => Supervisor.ProcessId, TimeSpan.FromSeconds(5));

    [TestCase("file", Signum.SIGSTOP)]
    [TestCase("log", Signum.SIGKILL)]
    [Category("Soak")]
    public Task SupervisorStopsForTenMinutes_OutputFlowsOn(string kind, Signum signal) =>
        FlowsOnAsync(kind, signal, () => Supervisor.ProcessId, TimeSpan.FromMinutes(10));

    [Test]
    public async Task ShimStops_OutputToAFileFlowsOn()
    {
        var shim = 0;
        await FlowsOnAsync("file", Signum.SIGSTOP, () => shim, TimeSpan.FromSeconds(5), async container => shim = (int)(await container.InspectAsync()).Shim.Pid);
    }

    [Test]
    public async Task ShimIsKilledAndNobodyCleansUp_OutputToAFileFlowsOn()
    {
        await using var shim = await ShimFixture.StartAsync();
        var path = shim.PathOf("out");
        var id = "";
        await shim.RunContainerAsync(bundle => bundle.Script(Writing), request => (id, request.Stdout) = (request.Id, $"file://{path}"));
        try
        {
            await Poll.Until(() => new FileInfo(path).Length > 500_000, Poll.Deadline, "the first writes");
            await shim.KillHardAsync();
            await AssertGrowsAsync(path, TimeSpan.FromSeconds(3));
        }
        finally
        {
            var runtimeRoot = Path.Combine(Path.GetDirectoryName(shim.WorkingDirectory)!, "runc");
            using var deletion = Process.Start(Machine.Runc!, ["--root", runtimeRoot, "delete", "--force", id]);
            await deletion.WaitForExitAsync().WithinAsync(Poll.Deadline, "the end of the container");
        }
    }

    private async Task FlowsOnAsync(string kind, Signum signal, Func<int> pid, TimeSpan duration, Func<TestContainer, Task>? prepare = null)
    {
        var path = Path.Combine(Supervisor.NewDirectory(), "out");
        var container = await TestContainer.RunAsync(Supervisor, bundle => bundle.Script(Writing), streams: request => request.Stdout = $"{kind}://{path}");
        await (prepare?.Invoke(container) ?? Task.CompletedTask);
        await Poll.Until(() => new FileInfo(path).Length > 500_000, Poll.Deadline, "the first writes");
        var stopped = pid();
        if (signal == Signum.SIGKILL && stopped == Supervisor.ProcessId)
        {
            await Supervisor.KillHardAsync();
        }
        else
        {
            Assert.That(Syscall.kill(stopped, signal), Is.Zero);
        }

        try
        {
            var start = new FileInfo(path).Length;
            await AssertGrowsAsync(path, duration);
            Assert.That(new FileInfo(path).Length - start, Is.GreaterThan(duration.TotalSeconds * 200_000), "much less than it could write");
        }
        finally
        {
            if (signal == Signum.SIGSTOP)
            {
                _ = Syscall.kill(stopped, Signum.SIGCONT);
            }
            else if (!Supervisor.IsRunning)
            {
                await Supervisor.StartAgainAsync();
            }
        }

        if (signal == Signum.SIGSTOP || kind == "log")
        {
            Assert.That((await container.KillAsync()).Status, Is.EqualTo(137u));
        }
    }

    private static async Task AssertGrowsAsync(string path, TimeSpan duration)
    {
        var (watch, grown, size) = (Stopwatch.StartNew(), TimeSpan.Zero, new FileInfo(path).Length);
        while (watch.Elapsed < duration)
        {
            await Task.Delay(50);
            var now = new FileInfo(path).Length;
            if (now != size)
            {
                (size, grown) = (now, watch.Elapsed);
            }

            Assert.That(watch.Elapsed - grown, Is.LessThan(s_gap), $"nothing came any more after {grown.TotalSeconds:0.0} s");
        }
    }
}
