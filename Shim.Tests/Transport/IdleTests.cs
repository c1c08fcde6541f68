using System.Globalization;
using Containerd.Shim.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Process = System.Diagnostics.Process;
using ProcessStartInfo = System.Diagnostics.ProcessStartInfo;

namespace Shim.Tests.Transport;

/// <summary>What a shim costs while nothing happens, which is nearly always: one that waits for work, and one that has a container and a listener.</summary>
public sealed class IdleTests
{
    // Memory is given back 2 s after the last work, and the thread pool lets its threads go after 20 s.
    private static readonly TimeSpan s_calm = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan s_watched = TimeSpan.FromSeconds(5);

    private ShimFixture _empty = null!;
    private ShimFixture _busy = null!;
    private AsyncServerStreamingCall<Event> _events = null!;
    private (List<string> Empty, List<string> Busy) _threads;
    private (long Empty, long Busy) _memory;

    [OneTimeSetUp]
    public async Task StartAndLetThemCalmDown()
    {
        _empty = await ShimFixture.StartAsync();
        _busy = await ShimFixture.StartAsync();
        await _busy.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = _busy.NewBundle().Write().Path });
        await _busy.Client.StartAsync(new StartRequest());
        _events = _busy.Client.Events(new EventsRequest());
        Assert.That(await _events.ResponseStream.MoveNext(default).WithinAsync(Poll.Deadline, "an event"), Is.True);
        for (var i = 0; i < 5; i++)
        {
            var exec = await _busy.Client.ExecAsync(new ExecRequest { Args = { "true" } });
            await _busy.Client.WaitAsync(new WaitRequest { Pid = exec.Pid });
            await _busy.Client.DeleteAsync(new DeleteRequest { Pid = exec.Pid });
        }

        await Task.Delay(s_calm);

        // Here, because a call of one of the tests wakes up more.
        _threads = (Threads(_empty), Threads(_busy));
        _memory = (ProcessCost.PrivateDirty(_empty.ProcessId), ProcessCost.PrivateDirty(_busy.ProcessId));
    }

    [OneTimeTearDown]
    public async Task End()
    {
        _events?.Dispose();
        foreach (var shim in new[] { _empty, _busy })
        {
            if (shim is not null)
            {
                await shim.DisposeAsync();
            }
        }
    }

    [Test]
    public async Task Idle_AnyShim_NoThreadWakesUp()
    {
        // On a loaded machine the last of the work may be done late: it calms down within a few windows, or it never does.
        (long, long) before, after;
        var windows = 0;
        do
        {
            before = (Switches(_empty), Switches(_busy));
            await Task.Delay(s_watched);
            after = (Switches(_empty), Switches(_busy));
        }
        while (after != before && ++windows < 4);
        Assert.That(after, Is.EqualTo(before), $"voluntary context switches in {s_watched.TotalSeconds} s, without and with a container");

        // The control: the count does move.
        await _empty.Client.InfoAsync(new InfoRequest());
        Assert.That(Switches(_empty), Is.GreaterThan(after.Item1));
    }

    [Test]
    public void Idle_Threads_AreFew()
    {
        // The main one, which is the loop; the .NET runtime's finalizer, and the gate of its thread pool. None of the runtime's for timers, sockets, signals.
        Assert.That(_threads.Empty, Has.Count.LessThanOrEqualTo(3), string.Join(", ", _threads.Empty));
        Assert.That(_threads.Busy, Has.Count.LessThanOrEqualTo(3), string.Join(", ", _threads.Busy));
    }

    [Test]
    public void Idle_Signals_AreBlockedInEveryThread()
    {
        // Or one of them would take the signal, and the loop would never hear of it. CHLD, TERM, INT and HUP.
        const ulong Taken = (1UL << 16) | (1UL << 14) | (1UL << 1) | 1;
        foreach (var status in new[] { _empty, _busy }.SelectMany(shim => Directory.GetDirectories($"/proc/{shim.ProcessId}/task")).Select(task => Path.Combine(task, "status")))
        {
            var line = File.ReadLines(status).First(line => line.StartsWith("SigBlk:", StringComparison.Ordinal));
            Assert.That(ulong.Parse(line["SigBlk:".Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) & Taken, Is.EqualTo(Taken), status);
        }
    }

    [Test]
    public void Idle_Memory_HasNothingOfReflectionOrALargerServer()
    {
        TestContext.Out.WriteLine($"private dirty: {_memory.Empty / 1024} and {_memory.Busy / 1024} KB");

        // About 500 and 600 KB. A type that is built at run time, the name of an enum value, or a package with many types costs 100 KB and more, each.
        Assert.That(_memory.Empty, Is.LessThan(700 * 1024));
        Assert.That(_memory.Busy, Is.LessThan(750 * 1024));
    }

    [Test]
    public void Idle_Descriptors_AreTheKnownOnes()
    {
        // stdin to stderr as the fixture gives them; the journal and the lock on its directory; the listener and connections; the loop with its signals; /dev/null for runtimes; the pidfd of the container's init.
        var inherited = Inherited();
        AssertKnown(_empty, inherited, init: 0);
        AssertKnown(_busy, inherited, init: 1);
    }

    // What whoever runs the tests has left open for all children to inherit: not the shim's doing, nor its to close.
    private static string[] Inherited()
    {
        using var shell = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "(for fd in /proc/$$/fd/*; do case ${fd##*/} in [0-2]) ;; *) readlink $fd ;; esac; done)"]) { RedirectStandardOutput = true })!;
        var links = shell.StandardOutput.ReadToEndAsync();
        Assert.That(shell.WaitForExit(10_000), Is.True);
        return links.Result.Split('\n');
    }

    private static void AssertKnown(ShimFixture shim, string[] inherited, int init)
    {
        var kinds = Directory.GetFileSystemEntries($"/proc/{shim.ProcessId}/fd")
            .Select(path => new FileInfo(path).LinkTarget ?? "")
            .Where(target => target == "/dev/null" || !inherited.Contains(target))
            .GroupBy(target => target switch
            {
                "/dev/null" => "null",
                "anon_inode:[pidfd]" => "pidfd",
                "anon_inode:[eventpoll]" or "anon_inode:[eventfd]" or "anon_inode:[signalfd]" => "poll",
                _ when target.StartsWith("socket:", StringComparison.Ordinal) => "socket",
                _ when target.EndsWith("/stderr", StringComparison.Ordinal) => "stderr",
                _ when target.EndsWith("/journal", StringComparison.Ordinal) => "journal",
                "/dev/urandom" => "urandom",
                _ when Directory.Exists(target) => "state directory",
                _ => target,
            })
            .ToDictionary(group => group.Key, group => group.Count());
        TestContext.Out.WriteLine(string.Join(", ", kinds.Select(pair => $"{pair.Key} {pair.Value}")));
        Assert.That(kinds.Keys, Is.SubsetOf(new[] { "null", "pidfd", "poll", "socket", "stderr", "journal", "urandom", "state directory" }));
        Assert.That(kinds.GetValueOrDefault("stderr"), Is.EqualTo(2));
        Assert.That(kinds.GetValueOrDefault("journal"), Is.EqualTo(1));
        Assert.That(kinds.GetValueOrDefault("pidfd"), Is.EqualTo(init));
        Assert.That(kinds.GetValueOrDefault("pipe"), Is.LessThanOrEqualTo(2));
        Assert.That(kinds.GetValueOrDefault("poll"), Is.LessThanOrEqualTo(3));
        Assert.That(kinds.GetValueOrDefault("null"), Is.LessThanOrEqualTo(2 + init + inherited.Count(target => target == "/dev/null")));
        Assert.That(kinds.GetValueOrDefault("socket"), Is.LessThanOrEqualTo(3));
    }

    private static List<string> Threads(ShimFixture shim) =>
        [.. Directory.GetDirectories($"/proc/{shim.ProcessId}/task").Select(task => File.ReadAllText(Path.Combine(task, "comm")).Trim()).Order()];

    private static long Switches(ShimFixture shim) => Directory.GetDirectories($"/proc/{shim.ProcessId}/task").Sum(task => long.Parse(
        File.ReadLines(Path.Combine(task, "status")).First(line => line.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal)).Split('\t')[1],
        CultureInfo.InvariantCulture));
}
