using System.Text.RegularExpressions;
using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Lessons;

/// <summary>Section E of LESSONS.md: shim crash and cleanup. Row 91 is in EndToEnd/RestartTests too.</summary>
public sealed class ShimCrashTests : SupervisorTests
{
    /// <summary>Row 89: the shim is killed. Soon after that nothing of the container runs, and one exit says why; paused or not.</summary>
    [Test]
    public async Task ShimKilled_EverythingOfTheContainerIsGone([Values] bool paused, [Values] bool hostPid)
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => (hostPid ? b.HostPid() : b).Script("sleep 1000 & sleep 1000 & wait"));
        var exec = await container.ExecAsync("sleep", "1000");
        if (paused)
        {
            await container.PauseAsync();
        }

        _ = Syscall.kill((int)(await container.InspectAsync()).Shim.Pid, Signum.SIGKILL);
        var exit = (await events.WaitForExitAsync(container.Id, container.Pid, TimeSpan.FromSeconds(5))).Exit;
        Assert.That((exit.Status, exit.Reason), Is.EqualTo((137u, ExitReason.ShimLost)));
        Assert.That(events.ExitsOf(container.Id).Select(e => e.Pid), Is.EqualTo(new[] { exec, container.Pid }));
        await Poll.Until(() => !HostProcess.Mentioning($"/{container.Bundle.Cgroup}").Any(p => p.State != 'Z'), TimeSpan.FromSeconds(5), "its processes are dead");
        await container.DeleteAsync();
        await Supervisor.AssertNothingLeftAsync();
    }

    /// <summary>Row 93: callers that give up at any moment leave nothing, or something whole.</summary>
    [TestCase(10)]
    [TestCase(1000, Category = "Soak")]
    public async Task CreateCancelled_LeavesNothingBehind(int count)
    {
        var bundle = Supervisor.NewBundle().Write();
        for (var n = 0; n < count; n++)
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromMilliseconds(n * 137 % 500));
            using var call = Supervisor.Containers.CreateContainerAsync(
                new CreateContainerRequest { Id = "impatient", BundlePath = bundle.Path }, cancellationToken: patience.Token);
            var outcome = await Refusal.OutcomeAsync(call);
            await Poll.Until(
                async () =>
                {
                    using var deletion = Supervisor.Containers.DeleteContainerAsync(new DeleteContainerRequest { Id = "impatient" });
                    return (await Refusal.OutcomeAsync(deletion)).StatusCode is StatusCode.OK or StatusCode.NotFound
                        && !Directory.Exists(Path.Combine(Supervisor.Root, "c", "impatient"));
                },
                Poll.Deadline,
                $"nothing of it after {outcome}");
        }

        await Supervisor.AssertNothingLeftAsync();
    }

    /// <summary>Row 94: why a shim has crashed stands in the supervisor's log, with the end of what it said; also when it is not the supervisor's child.</summary>
    [TestCase(Signum.SIGSEGV, false)]
    [TestCase(Signum.SIGABRT, false)]
    [TestCase(Signum.SIGSEGV, true)]
    public async Task ShimCrashes_TheLogSaysWhy(Signum signal, bool restartBefore)
    {
        var container = await TestContainer.RunAsync(Supervisor);
        if (restartBefore)
        {
            await Supervisor.RestartAsync();
        }

        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        await File.AppendAllTextAsync(Path.Combine(Supervisor.Root, "c", container.Id, "shim.log"), $"the last words of {shim}\n");
        await Poll.Until(
            () =>
            {
                // The .NET runtime answers a first SIGSEGV that no instruction has caused by giving up its handler; the next one ends it.
                _ = Syscall.kill(shim, signal);
                return !HostProcess.Runs(shim);
            },
            Poll.Deadline,
            "the crash");
        var number = signal == Signum.SIGSEGV ? 11 : 6;
        await Poll.Until(() => Supervisor.Log.Contains($"(pid {shim}) is lost", StringComparison.Ordinal), Poll.Deadline, "the loss in the log");
        var line = Regex.Match(Supervisor.Log, $@"\(pid {shim}\) is lost: .*").Value;

        // Before Linux 6.15 only a parent learns it.
        Assert.That(line, Does.Contain($"killed by signal {number};").Or.Contain(restartBefore ? "its status went to another parent" : $"signal {number};"));
        Assert.That(line, Does.Contain($"the last words of {shim}"));
        await container.DeleteAsync();
    }

    /// <summary>
    /// Row 96: a shim has the supervisor's oom_score_adj; the runtime, init and execs have that of the config, or 0, whatever the shim's is.
    /// </summary>
    [TestCase(null, 0)]
    [TestCase(300, 300)]
    public async Task OomScores_AreExact(int? configured, int expected)
    {
        const int OfSupervisor = 200;
        await File.WriteAllTextAsync($"/proc/{Supervisor.ProcessId}/oom_score_adj", $"{OfSupervisor}");
        try
        {
            var container = await TestContainer.RunAsync(Supervisor, b => configured is { } score ? b.OomScore(score) : b);
            var exec = await container.ExecAsync("sleep", "1000");
            Assert.That(Score((int)(await container.InspectAsync()).Shim.Pid), Is.EqualTo(OfSupervisor), "the shim");
            Assert.That(Score((int)container.Pid), Is.EqualTo(expected), "init");
            Assert.That(Score((int)exec), Is.EqualTo(expected), "exec");
            await container.DeleteAsync();
        }
        finally
        {
            await File.WriteAllTextAsync($"/proc/{Supervisor.ProcessId}/oom_score_adj", "0");
        }

        static int Score(int pid) => int.Parse(File.ReadAllText($"/proc/{pid}/oom_score_adj"), System.Globalization.CultureInfo.InvariantCulture);
    }
}
