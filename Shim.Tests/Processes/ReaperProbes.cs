using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

/// <summary>What <see cref="ReaperTests"/> runs in a process of its own. Its threads are few and its children many.</summary>
internal static class ReaperProbes
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);
    private static readonly SafeFileHandle s_null = Fd.Open("/dev/null", Libc.O_RDWR);

    /// <summary>2,000 children from four tasks; a quarter leaves an orphan, a tenth is killed.</summary>
    internal static JsonObject Reap()
    {
        const int tasks = 4;
        const int each = 500;
        var reaper = NewReaper(subreaper: true);
        var wrong = new ConcurrentQueue<string>();
        var orphans = 0;
        var done = Task.WhenAll(Enumerable.Range(0, tasks).Select(task => Task.Run(async () =>
        {
            for (var i = 0; i < each; i++)
            {
                var number = (task * each) + i;
                var code = number % 256;
                var (script, expected) = (number % 20) switch
                {
                    0 or 10 => ("kill -KILL $$; exit 99", new ExitStatus(137, 9, false)),
                    1 or 5 or 9 or 13 or 17 => ($"(sleep 0.0{number % 10} &) ; exit {code}", new ExitStatus(code, 0, false)),
                    _ => ($"exit {code}", new ExitStatus(code, 0, false)),
                };
                if (script[0] == '(')
                {
                    Interlocked.Increment(ref orphans);
                }

                var exit = await reaper.Spawn(Shell(script)).Exit.WaitAsync(s_limit);
                if (exit.Status != expected || !exit.Known)
                {
                    wrong.Enqueue($"{script}: {exit}");
                }
            }
        }))).Wait(s_limit);

        // Orphans end a little later than their parents.
        Probes.Within(TimeSpan.FromSeconds(10), () => reaper.Collected >= (tasks * each) + orphans && Children() == 0);
        return new JsonObject
        {
            ["done"] = done,
            ["wrong"] = Probes.Array(wrong),
            ["orphans"] = orphans,
            ["collected"] = reaper.Collected,
            ["left"] = Children(),
            ["early"] = reaper.EarlyExits,
        };
    }

    /// <summary>
    /// Grandchildren that have ended before anyone asks for them: as a container that ends between the runtime's fork and the
    /// moment when we read its pid file.
    /// </summary>
    internal static JsonObject Early(bool anticipate)
    {
        const int rounds = 10;
        const int each = 20;
        var reaper = NewReaper(subreaper: true);
        var wrong = new List<string>();
        var statuses = new SortedSet<int>();
        for (var round = 0; round < rounds; round++)
        {
            using var before = anticipate ? reaper.Anticipate() : null;
            var collected = reaper.Collected;
            var started = Enumerable.Range(0, each).Select(i => Grandchild(reaper, ((round * each) + i) % 256)).ToList();
            if (!Probes.Within(s_limit, () => reaper.Collected == collected + (2 * each)))
            {
                wrong.Add($"round {round}: collected {reaper.Collected - collected} of {2 * each}");
                break;
            }

            using var claim = reaper.Anticipate();
            var open = before ?? claim;
            foreach (var (pid, code) in Enumerable.Reverse(started))
            {
                var answers = new BlockingCollection<ChildExit>();
                using var process = open.Claim(pid, answers.Add);
                if (!answers.TryTake(out var exit, s_limit))
                {
                    wrong.Add($"{pid}: no exit");
                    continue;
                }

                statuses.Add(exit.Status.Code);
                if (process is not null || !exit.Known || exit.Status != new ExitStatus(code, 0, false) || answers.TryTake(out _, 0))
                {
                    wrong.Add($"{pid} should exit with {code}: {exit}");
                }
            }
        }

        return new JsonObject { ["wrong"] = Probes.Array(wrong), ["statuses"] = statuses.Count, ["min"] = statuses.Min, ["kept"] = reaper.EarlyExits };
    }

    /// <summary>Twenty orphans; those that come to us are counted.</summary>
    internal static JsonObject Orphans(bool subreaper)
    {
        const int count = 20;
        var reaper = NewReaper(subreaper);
        for (var i = 0; i < count; i++)
        {
            reaper.Spawn(Shell("(sleep 0.1 &) ; exit 0")).Exit.Wait(s_limit);
        }

        Probes.Within(TimeSpan.FromSeconds(1), () => reaper.Collected == 2 * count);
        return new JsonObject { ["orphans"] = reaper.Collected - count };
    }

    /// <summary>Started with SIGCHLD ignored: whether statuses arrive.</summary>
    internal static JsonObject IgnoredSigChld(bool repair)
    {
        if (repair)
        {
            Libc.SetDefaultDisposition(Libc.SIGCHLD);
        }

        var reaper = NewReaper(subreaper: true);
        var children = Enumerable.Range(1, 50).Select(code => (Code: code, Child: reaper.Spawn(Shell($"exit {code}")))).ToList();
        Probes.Within(TimeSpan.FromSeconds(3), () => children.TrueForAll(child => child.Child.Exit.IsCompleted));
        return new JsonObject
        {
            ["ignored"] = (SignalMask("SigIgn") & (1UL << (Libc.SIGCHLD - 1))) != 0,
            ["right"] = children.Count(child => child.Child.Exit.IsCompletedSuccessfully && child.Child.Exit.Result.Status.Code == child.Code),
        };
    }

    /// <summary>Children that are killed one after another are reported in that order, and so are those of a burst.</summary>
    internal static JsonObject Order()
    {
        const int count = 60;
        var reaper = NewReaper(subreaper: true);
        var delivered = new ConcurrentQueue<ChildExit>();
        var pids = Sleepers(reaper, count, delivered.Enqueue);
        var order = pids.OrderBy(pid => (pid * 7919L) % 65537).ToArray();
        var half = order.Length / 2;
        for (var i = 0; i < half; i++)
        {
            var collected = reaper.Collected;
            _ = Libc.Kill(order[i], Libc.SIGKILL);
            Probes.Within(s_limit, () => reaper.Collected == collected + 1);
        }

        foreach (var pid in order[half..])
        {
            _ = Libc.Kill(pid, Libc.SIGKILL);
        }

        Probes.Within(s_limit, () => delivered.Count == count);
        var exits = delivered.ToArray();
        return new JsonObject
        {
            ["delivered"] = exits.Length,
            ["distinct"] = exits.DistinctBy(exit => exit.Pid).Count(),
            ["in_order"] = exits.Take(half).Select(exit => exit.Pid).SequenceEqual(order[..half]),
            ["burst_in_order"] = exits.Zip(exits.Skip(1)).All(pair => pair.First.Time <= pair.Second.Time),
        };
    }

    /// <summary>A handler that blocks and one that throws: collecting goes on, and so does delivering after them.</summary>
    internal static JsonObject SlowHandler()
    {
        const int count = 30;
        var failures = new ConcurrentQueue<Exception>();
        var reaper = NewReaper(subreaper: true, failures.Enqueue);
        using var release = new ManualResetEventSlim();
        var delivered = 0;
        var pids = Sleepers(reaper, count, _ =>
        {
            release.Wait(s_limit);
            if (Interlocked.Increment(ref delivered) == 1)
            {
                throw new InvalidOperationException("thrown on purpose");
            }
        });
        foreach (var pid in pids)
        {
            _ = Libc.Kill(pid, Libc.SIGKILL);
        }

        var collected = Probes.Within(TimeSpan.FromSeconds(5), () => reaper.Collected == count);
        var another = reaper.Spawn(Shell("exit 4"));
        var collectedAnother = Probes.Within(TimeSpan.FromSeconds(5), () => reaper.Collected == count + 1);
        var before = delivered;
        release.Set();
        another.Exit.Wait(s_limit);
        return new JsonObject
        {
            ["collected_while_blocked"] = collected && collectedAnother && before == 0,
            ["delivered"] = delivered,
            ["failures"] = failures.Count,
            ["after"] = another.Exit.Result.Status.Code,
        };
    }

    /// <summary>A process that is not our child at all: its end is seen, its status is not known.</summary>
    internal static JsonObject Stranger()
    {
        var reaper = NewReaper(subreaper: false);

        // Not being subreaper, we lose the grandchild to another parent.
        var pid = Grandchild(reaper, 7, "sleep 0.5; exit");
        Probes.Within(s_limit, () => reaper.Collected == 1);
        var answers = new BlockingCollection<ChildExit>();
        using var anticipation = reaper.Anticipate();
        using var process = anticipation.Claim(pid.Pid, answers.Add);
        var tooEarly = answers.TryTake(out _, 100);
        var came = answers.TryTake(out var exit, s_limit);
        return new JsonObject { ["opened"] = process is not null, ["too_early"] = tooEarly, ["came"] = came, ["known"] = exit?.Known, ["code"] = exit?.Status.Code };
    }

    /// <summary>Killing a child's group takes its children along; afterwards nobody else is touched.</summary>
    internal static JsonObject KillGroup()
    {
        var reaper = NewReaper(subreaper: true);
        var child = reaper.Spawn(Shell("sleep 1000 & sleep 1000", newProcessGroup: true));
        Probes.Within(s_limit, () => HostProcess.Children(child.Pid).Count == 2);
        child.KillGroup();
        child.Exit.Wait(s_limit);
        var gone = Probes.Within(TimeSpan.FromSeconds(5), () => reaper.Collected == 3 && Children() == 0);

        // The number is free now; a second call must not signal whoever has it next.
        child.KillGroup();
        return new JsonObject { ["signal"] = child.Exit.Result.Status.Signal, ["gone"] = gone };
    }

    private static Reaper NewReaper(bool subreaper, Action<Exception>? failed = null)
    {
        if (subreaper)
        {
            Libc.BecomeSubreaper();
        }

        var reaper = new Reaper(failed ?? (_ => { }));
        ReaperThread.Start(reaper);
        return reaper;
    }

    private static SpawnRequest Shell(string script, SafeFileHandle? stdout = null, bool newProcessGroup = false) => new()
    {
        Path = "/bin/sh",
        Arguments = ["sh", "-c", script],
        Environment = ["PATH=/usr/bin:/bin"],
        Stdin = s_null,
        Stdout = stdout ?? s_null,
        Stderr = s_null,
        NewProcessGroup = newProcessGroup,
    };

    private static (int Pid, int Code) Grandchild(Reaper reaper, int code, string ending = "sleep 0.02; exit")
    {
        var (read, write) = Libc.Pipe();
        using (read)
        {
            // The shell ends without waiting, so its child is left to whoever is subreaper. The child ends a little later: if it ended
            // first, the shell would sometimes collect it.
            var parent = reaper.Spawn(Shell($"({ending} {code}) & echo $!", write));
            write.Dispose();
            var buffer = new byte[32];
            var count = Fd.Read(read, buffer);
            parent.Exit.Wait(s_limit);
            return (int.Parse(buffer.AsSpan(0, count), CultureInfo.InvariantCulture), code);
        }
    }

    private static List<int> Sleepers(Reaper reaper, int count, Action<ChildExit> ended)
    {
        using var anticipation = reaper.Anticipate();
        var pids = new List<int>();
        for (var i = 0; i < count; i++)
        {
            var pid = reaper.Spawn(new SpawnRequest
            {
                Path = "/bin/sleep",
                Arguments = [$"{Probe.Marker}={Environment.ProcessId}", "300"],
                Environment = [],
                Stdin = s_null,
                Stdout = s_null,
                Stderr = s_null,
            }).Pid;
            anticipation.Claim(pid, ended)!.Dispose();
            pids.Add(pid);
        }

        return pids;
    }

    private static int Children() => HostProcess.Children(Environment.ProcessId).Count;

    private static ulong SignalMask(string name) => ulong.Parse(
        File.ReadLines("/proc/self/status").First(line => line.StartsWith(name, StringComparison.Ordinal))[(name.Length + 2)..],
        NumberStyles.HexNumber,
        CultureInfo.InvariantCulture);

    private static long Switches(int thread) => long.Parse(
        File.ReadLines($"/proc/self/task/{thread}/status").First(line => line.StartsWith("voluntary_ctxt_switches:", StringComparison.Ordinal)).Split('\t')[1],
        CultureInfo.InvariantCulture);
}
