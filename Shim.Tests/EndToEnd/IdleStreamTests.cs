using Containerd.Shim.V1;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>Streams that have come to an end while their process lives on: a poll loop that does not notice would burn a processor.</summary>
public sealed class IdleStreamTests
{
    private static readonly TimeSpan s_watched = TimeSpan.FromSeconds(10);

    // 10 ms per minute.
    private static readonly TimeSpan s_allowed = s_watched / 6000;

    [Test]
    public async Task EndedStreams_LivingProcesses_TheShimSleeps()
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var idle = "exec sleep 1000000";

        // Closed by the process itself: pipes into a log, a FIFO, a terminal.
        await StartAsync($"exec >&- 2>&-; {idle}", $"log://{shim.PathOf("log1")}");
        using var direct = new FifoReader(shim.PathOf("direct"));
        await StartAsync($"exec >&- 2>&-; {idle}", direct.Path);
        using var terminal = new FifoReader(shim.PathOf("terminal"));
        await StartAsync($"trap '' HUP; exec >&- 2>&- <&-; {idle}", terminal.Path, isTerminal: true);

        // A reader who goes away: of a FIFO, of a terminal's output under each policy.
        foreach (var policy in new[] { "wait", "discard", "hangup" })
        {
            using var leaving = new FifoReader(shim.PathOf($"leaving-{policy}"));
            await StartAsync($"trap '' HUP; echo hello; {idle}", $"fifo://{leaving.Path}?on-disconnect={policy}", isTerminal: true);
            await leaving.WaitForTextAsync("hello", Poll.Deadline);
            using var pipe = new FifoReader(shim.PathOf($"pipe-{policy}"));
            await StartAsync($"echo hello; {idle}", $"fifo://{pipe.Path}?on-disconnect={policy}");
            await pipe.WaitForTextAsync("hello", Poll.Deadline);
        }

        // A writer who goes away: an input that ended.
        var request = ShimCalls.Shell($"cat; {idle}");
        request.Stdin = shim.MakeFifo("in");
        var exec = await shim.Client.ExecAsync(request);
        (await FifoWriter.OpenAsync(shim.PathOf("in"), Poll.Deadline)).Dispose();
        await shim.Client.CloseStdinAsync(new CloseStdinRequest { Pid = exec.Pid });

        // A log and a client who read on, and have nothing to read.
        await StartAsync($"echo once; {idle}", $"log://{shim.PathOf("log2")}?on-full=drop");

        // What these things set off ends within some windows, or never does.
        TimeSpan used;
        var windows = 0;
        do
        {
            var before = ProcessCost.Cpu(shim.ProcessId);
            await Task.Delay(s_watched);
            used = ProcessCost.Cpu(shim.ProcessId) - before;
        }
        while ((used > s_allowed || used < TimeSpan.Zero) && ++windows < 5);

        // Less than nothing: a thread has ended, and taken its time out of the sum.
        Assert.That(used, Is.InRange(TimeSpan.Zero, s_allowed), $"processor time in {s_watched.TotalSeconds} s");
        var all = (await shim.Client.StateAsync(new StateRequest())).Processes;
        Assert.That(all.Select(process => process.State), Has.All.EqualTo(State.Running), "processes that ended would make this easy");

        async Task StartAsync(string script, string stdout, bool isTerminal = false)
        {
            var start = ShimCalls.Shell(script);
            (start.Terminal, start.Stdout) = (isTerminal, stdout);
            await shim.Client.ExecAsync(start);
        }
    }
}
