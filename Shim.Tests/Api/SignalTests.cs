using Containerd.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>SignalProcess and Kill: who gets the signal, and when.</summary>
public sealed class SignalTests : SupervisorTests
{
    [Test]
    public async Task Signal_HandledByInit_TrapRuns()
    {
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("trap 'exit 33' USR1; : > /host/ready; while :; do usleep 10000; done"));
        await Poll.Until(() => File.Exists(Path.Combine(directory, "ready")), Poll.Deadline, "init is ready");
        await container.SignalAsync(container.Pid, 10);
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(33u));
    }

    [Test]
    public async Task Signal_RealTimeSignals_Arrive()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        foreach (var signal in new[] { 34, 40, 64 })
        {
            var exec = await container.ExecAsync("sleep", "1000");
            await container.SignalAsync(exec, signal);
            var exit = await container.WaitAsync(exec);
            Assert.That((exit.Status, exit.Signal, exit.Reason), Is.EqualTo((128 + (uint)signal, (uint)signal, ExitReason.Signaled)));
        }
    }

    [Test]
    public async Task Signal_OneExecOfTwo_TheOtherLives()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var first = await container.ExecAsync("sleep", "1000");
        var second = await container.ExecAsync("sleep", "1000");
        await container.SignalAsync(first, 15);
        Assert.That((await container.WaitAsync(first)).Status, Is.EqualTo(143u));
        Assert.That(HostProcess.Runs((int)second), Is.True);
        Assert.That(HostProcess.Runs((int)container.Pid), Is.True);
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Signal_EndedExec_NotFound()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("true");
        await container.WaitAsync(exec);
        await Refusal.ExpectAsync(
            Supervisor.Containers.SignalProcessAsync(new SignalProcessRequest { ContainerId = container.Id, Pid = exec, Signal = 9 }), StatusCode.NotFound, [$"{exec}"]);
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Signal_KillWhilePaused_DiesWithoutResume()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await container.PauseAsync();
        await container.SignalAsync(container.Pid, 9);
        Assert.That((await container.WaitAsync(deadline: TimeSpan.FromSeconds(10))).Status, Is.EqualTo(137u));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
        await container.DeleteAsync();
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Signal_KillExecWhilePaused_OnlyThatOneDiesAndTheRestStaysFrozen()
    {
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("n=0; while :; do n=$((n + 1)); echo $n > /host/n; usleep 5000; done"));
        var exec = await container.ExecAsync("sleep", "1000");
        var counter = Path.Combine(directory, "n");
        await Poll.Until(() => File.Exists(counter), Poll.Deadline, "the counter counts");
        await container.PauseAsync();
        await container.SignalAsync(exec, 9);
        Assert.That((await container.WaitAsync(exec, TimeSpan.FromSeconds(10))).Status, Is.EqualTo(137u));
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Paused));
        var before = await File.ReadAllTextAsync(counter);
        await Task.Delay(200);
        Assert.That(await File.ReadAllTextAsync(counter), Is.EqualTo(before));
        await container.ResumeAsync();
        await Poll.Until(() => File.ReadAllText(counter) is { Length: > 0 } now && now != before, Poll.Deadline, "the counter goes on");
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Signal_TermWhilePaused_WaitsForResume()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = await container.ExecAsync("sleep", "1000");
        await container.PauseAsync();
        await container.SignalAsync(exec, 15);
        await Task.Delay(200);
        Assert.That(HostProcess.Runs((int)exec), Is.True);
        await container.ResumeAsync();
        Assert.That((await container.WaitAsync(exec, TimeSpan.FromSeconds(10))).Status, Is.EqualTo(143u));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Kill_All_EveryProcessGetsIt()
    {
        var directory = Supervisor.NewDirectory();
        const string Script = "trap 'echo $1 >> /host/got; exit 0' USR1; : > /host/ready$1; while :; do usleep 10000; done";
        var container = await TestContainer.RunAsync(Supervisor, b => b.Bind(directory).Args("sh", "-c", Script, "sh", "init"));
        var exec = await container.ExecAsync("sh", "-c", Script, "sh", "exec");
        await Poll.Until(
            () => File.Exists(Path.Combine(directory, "readyinit")) && File.Exists(Path.Combine(directory, "readyexec")), Poll.Deadline, "both are ready");
        // Init must not take the exec with it before that has run its trap.
        await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 19, Pid = container.Pid });
        await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 10, All = true });
        Assert.That((await container.WaitAsync(exec)).Status, Is.Zero);
        await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 18 });
        Assert.That((await container.WaitAsync()).Status, Is.Zero);
        Assert.That(await File.ReadAllLinesAsync(Path.Combine(directory, "got")), Is.EqualTo(new[] { "exec", "init" }));
    }

    [Test]
    public async Task Kill_AllWhileAnExecIsForming_ReachesItsProgramAndNotTheRuntimes()
    {
        var directory = Supervisor.NewDirectory();
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Bind(directory).Script("trap ': > /host/got' TERM; : > /host/ready; while :; do usleep 10000; done"));
        await Poll.Until(() => File.Exists(Path.Combine(directory, "ready")), Poll.Deadline, "the trap");
        for (var attempt = 0; attempt < 20; attempt++)
        {
            var starting = container.ExecAsync("sleep", "1000000");
            if (StopWhileForming(starting) is not { } forming)
            {
                await container.SignalAsync(await starting, 9);
                continue;
            }

            try
            {
                await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 15, All = true });
                await Poll.Until(() => File.Exists(Path.Combine(directory, "got")), Poll.Deadline, "the signal in init");
            }
            finally
            {
                _ = Syscall.kill(forming, Signum.SIGCONT);
            }

            Assert.That(await starting, Is.EqualTo((uint)forming), "the exec succeeds");
            Assert.That((await container.WaitAsync((uint)forming)).Signal, Is.EqualTo(15u), "and its own program gets the signal");
            return;
        }

        Assert.Fail("no exec was caught while it was forming");

        // After it has come into the container's cgroup, and before it executes its program.
        int? StopWhileForming(Task starting)
        {
            while (!starting.IsCompleted)
            {
                foreach (var pid in File.ReadAllLines(container.Bundle.CgroupFile("pids", "cgroup.procs", "cgroup.procs")).Select(line => int.Parse(line, null)))
                {
                    if (IsForming(pid) && Syscall.kill(pid, Signum.SIGSTOP) == 0)
                    {
                        if (IsForming(pid))
                        {
                            return pid;
                        }

                        _ = Syscall.kill(pid, Signum.SIGCONT);
                    }
                }
            }

            return null;
        }

        // Forked by the runtime and nothing executed since: PF_FORKNOEXEC among the flags of proc(5).
        bool IsForming(int pid) => HostProcess.Read(pid) is { } process && process.Parent != container.Pid
            && HostProcess.ReadFile(pid, "stat") is { Length: > 0 } stat
            && (uint.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[6], null) & 0x40) != 0;
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Kill_AllInHostPidNamespace_OnlyThisContainersProcesses()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.HostPid().Script("sleep 1111 & sleep 2222 & wait"));
        var bystander = await TestContainer.RunAsync(Supervisor, b => b.HostPid());
        await Poll.Until(async () => (await container.ProcessesAsync()).Count == 3, Poll.Deadline, "three processes");
        var pids = (await container.ProcessesAsync()).Select(p => (int)p.Pid).ToList();
        await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 9, All = true });
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(137u));
        await Poll.Until(() => !pids.Any(HostProcess.Runs), Poll.Deadline, "all are dead");
        Assert.That(await bystander.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Kill_PidZero_IsInit()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        await Supervisor.Control.KillAsync(new KillRequest { ContainerId = container.Id, Signal = 9 });
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(137u));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task InitEnds_HostPidNamespace_TheOthersEndToo()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var container = await TestContainer.RunAsync(Supervisor, b => b.HostPid().Script("sleep 3333 & exit 6"));
        Assert.That((await container.WaitAsync()).Status, Is.EqualTo(6u));
        await Poll.Until(
            () => !HostProcess.Mentioning($"/{container.Bundle.Cgroup}").Any(p => p.State != 'Z'), Poll.Deadline, "the container's other processes end");
        await Supervisor.AssertNoZombiesAsync();
    }
}
