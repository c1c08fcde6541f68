using Containerd.V1;
using NUnit.Framework;
using Shim.Tests.Support;
using Process = Containerd.V1.Process;
using Status = Containerd.V1.Status;

namespace Shim.Tests.Api;

/// <summary>StartProcess, GetProcess, ListProcesses and DeleteProcess, where they succeed.</summary>
public sealed class ExecTests : SupervisorTests
{
    [Test]
    public async Task Exec_NothingButArgs_TakesTheRestFromTheBundle()
    {
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.Env("FROM_BUNDLE=yes").Cwd("/tmp").User(1000, 1000, 5));
        Assert.That(
            await container.OutputAsync("echo $FROM_BUNDLE; pwd; id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status"),
            Is.EqualTo("yes\n/tmp\n1000\n1000\n1000 5\n" + "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n"));
    }

    [Test]
    public async Task Exec_NoProcessAtAll_IsTheBundlesProcessOnceMore()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Args("sleep", "2222"));
        var process = (await Supervisor.Containers.StartProcessAsync(new StartProcessRequest { ContainerId = container.Id })).Process;
        Assert.That(process.Args, Is.EqualTo(new[] { "sleep", "2222" }));
        Assert.That(process.Pid, Is.Not.EqualTo(container.Pid));
    }

    [Test]
    public async Task Exec_Capabilities_AreTheBundles()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var init = HostProcess.ReadFile((int)container.Pid, "status")!.Split('\n').Single(line => line.StartsWith("CapEff", StringComparison.Ordinal));
        Assert.That(await container.OutputAsync("grep CapEff /proc/self/status"), Is.EqualTo(init + "\n"));
    }

    [Test]
    public async Task Exec_FieldsGiven_Override()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Env("A=bundle").Env("B=bundle").Cwd("/tmp"));
        var output = await container.OutputAsync("echo $A $B $C; pwd; id -u; id -g; id -G", request =>
        {
            request.Process.Env.Add(["B=exec", "C=exec"]);
            request.Process.Cwd = "/etc";
            request.Process.User = new User { Uid = 1000, Gid = 1001, AdditionalGids = { 7, 8 } };
        });
        Assert.That(output, Is.EqualTo("bundle exec exec\n/etc\n1000\n1001\n1001 7 8\n"));
    }

    [Test]
    public async Task Exec_Started_ResponseSaysWhatRuns()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Env("FROM_BUNDLE=yes").Cwd("/tmp").User(1000, 1000));
        var request = container.ExecRequest("sleep", "1000");
        request.Process.Env.Add("MORE=1");
        var process = (await Supervisor.Containers.StartProcessAsync(request)).Process;

        Assert.That(process.Args, Is.EqualTo(new[] { "sleep", "1000" }));
        Assert.That(process.Env, Does.Contain("FROM_BUNDLE=yes").And.Contain("MORE=1"));
        Assert.That(process.Cwd, Is.EqualTo("/tmp"));
        Assert.That(process.User, Is.EqualTo(new User { Uid = 1000, Gid = 1000 }));
        Assert.That(HostProcess.Read((int)process.Pid)!.CommandLine, Is.EqualTo("sleep 1000"));
        Assert.That(await container.ProcessAsync(process.Pid), Is.EqualTo(process));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Exec_Container_IsChildOfTheShimInTheContainersNamespacesAndCgroup()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var exec = (int)await container.ExecAsync("sleep", "1000");
        var details = await container.InspectAsync();
        Assert.That(HostProcess.Read(exec)!.Parent, Is.EqualTo((int)details.Shim.Pid));
        Assert.That(HostProcess.ReadFile(exec, "cgroup"), Does.Contain(container.Bundle.Cgroup));
        Assert.That(
            new FileInfo($"/proc/{exec}/ns/pid").LinkTarget, Is.EqualTo(new FileInfo($"/proc/{container.Pid}/ns/pid").LinkTarget));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task Exec_Ended_StaysWithItsStatusUntilDeleted()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var pid = await container.ExecAsync("sh", "-c", "exit 9");
        Assert.That((await container.WaitAsync(pid)).Status, Is.EqualTo(9u));
        Assert.That((await container.ProcessAsync(pid)).ExitStatus, Is.EqualTo(9u));
        Assert.That((await container.ProcessesAsync()).Single(p => p.Pid == pid).ExitStatus, Is.EqualTo(9u));

        await container.DeleteProcessAsync(pid);
        await Refusal.ExpectAsync(
            Supervisor.Containers.GetProcessAsync(new GetProcessRequest { ContainerId = container.Id, Pid = pid }), Grpc.Core.StatusCode.NotFound);
        await Refusal.ExpectAsync(
            Supervisor.Containers.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = container.Id, Pid = pid }), Grpc.Core.StatusCode.NotFound);
        Assert.That((await container.ProcessesAsync()).Select(p => p.Pid), Is.EqualTo(new[] { container.Pid }));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task List_OthersOfTheContainer_AreDescribedByTheKernel()
    {
        var container = await TestContainer.RunAsync(
            Supervisor, b => b.User(1000, 1000).Env("SEEN=1").Cwd("/tmp").Script("sleep 4242 & wait"));
        var exec = await container.ExecAsync("sleep", "1000");
        var child = await Poll.For(
            async () => (await container.ProcessesAsync()).SingleOrDefault(p => p.Pid != container.Pid && p.Pid != exec && p.Args.Contains("4242")),
            found => found is not null,
            Poll.Deadline,
            "the child of init is listed");
        Assert.That(child!.Args, Is.EqualTo(new[] { "sleep", "4242" }));
        Assert.That(child.Env, Does.Contain("SEEN=1"));
        Assert.That(child.Cwd, Is.EqualTo("/tmp"));
        Assert.That((child.User.Uid, child.User.Gid), Is.EqualTo((1000u, 1000u)));
        Assert.That(child.Terminal, Is.False);
        Assert.That(HostProcess.Read((int)child.Pid)!.Parent, Is.EqualTo((int)container.Pid));

        Assert.That((await container.ProcessesAsync()).Select(p => p.Pid), Is.EquivalentTo(new[] { container.Pid, exec, child.Pid }));
        Assert.That((await container.ProcessAsync(child.Pid)).Args, Is.EqualTo(child.Args));
        var details = await container.InspectAsync();
        Assert.That(details.Processes.Single(p => p.Pid == child.Pid).Managed, Is.False);
        Assert.That(details.Processes.Single(p => p.Pid == exec), Has.Property("Managed").True.And.Property("Init").False.And.Property("Status").EqualTo(Status.Running));
        Assert.That(details.Processes.Single(p => p.Pid == container.Pid), Has.Property("Managed").True.And.Property("Init").True);
    }

    [Test]
    public async Task List_StrangersSignal_Works()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.Script("sleep 4242; sleep 1000"));
        var child = await Poll.For(
            async () => (await container.ProcessesAsync()).FirstOrDefault(p => p.Args.Contains("4242")), found => found is not null, Poll.Deadline, "the child is listed");
        await container.SignalAsync(child!.Pid, 15);
        await Poll.Until(() => !HostProcess.Runs((int)child.Pid), Poll.Deadline, "the child ends");
        Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Exec_Terminal_IsTheProcesssTerminal()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var output = await container.OutputAsync("tty; test -t 0 && test -t 1 && test -t 2 && echo all", request => request.Console = true);
        Assert.That(output, Does.Match("/dev/pts/[0-9]+\r\nall\r\n"));
    }

    [Test]
    public async Task Exec_TerminalWishInProcess_CountsToo()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var request = container.ExecRequest("sleep", "1000");
        request.Console = true;
        var pid = await container.ExecAsync(request);
        Assert.That((await container.ProcessAsync(pid)).Terminal, Is.True);
    }

    [Test]
    public async Task Exec_StdoutAndStderr_AreApart()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var directory = Supervisor.NewDirectory();
        using var stdout = new FifoReader(Path.Combine(directory, "out"));
        using var stderr = new FifoReader(Path.Combine(directory, "err"));
        var request = container.ExecRequest("sh", "-c", "echo one; echo two >&2");
        (request.Stdout, request.Stderr) = (stdout.Path, stderr.Path);
        await container.WaitAsync(await container.ExecAsync(request));
        Assert.That(await stdout.ReadTextAsync(Poll.Deadline), Is.EqualTo("one\n"));
        Assert.That(await stderr.ReadTextAsync(Poll.Deadline), Is.EqualTo("two\n"));
    }

    [Test]
    public async Task Exec_StdinFifoNobodyOpens_StartsAtOnce()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var fifo = Fifo.Create(Path.Combine(Supervisor.NewDirectory(), "in"));
        var request = container.ExecRequest("cat");
        request.Stdin = fifo;
        var pid = await container.ExecAsync(request).WithinAsync(TimeSpan.FromSeconds(5), "an exec whose stdin nobody opens");
        Assert.That((await container.ProcessAsync(pid)).ExitStatus, Is.Zero);
        Assert.That(HostProcess.Runs((int)pid), Is.True);
        await container.SignalAsync(pid, 9);
        Assert.That((await container.WaitAsync(pid)).Status, Is.EqualTo(137u));
    }

    [Test]
    public async Task Exec_ChildKeepsStdout_ExitIsReportedAtOnceAndDeleteReturns()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        using var stdout = new FifoReader(Path.Combine(Supervisor.NewDirectory(), "out"));
        var request = container.ExecRequest("sh", "-c", "echo ok; sleep 777 & exit 4");
        request.Stdout = stdout.Path;
        var pid = await container.ExecAsync(request);
        Assert.That((await container.WaitAsync(pid, TimeSpan.FromSeconds(5))).Status, Is.EqualTo(4u));
        await stdout.WaitForTextAsync("ok\n", Poll.Deadline);
        await container.DeleteProcessAsync(pid);
        await Poll.Until(async () => (await container.ProcessesAsync()).Any(p => p.Args.Contains("777")), Poll.Deadline, "the background child lives on");
        Assert.That((await container.ShellAsync("exit 0")).Status, Is.Zero);
    }

    [Test]
    public async Task Exec_WhileInitEnds_EitherRunsOrIsRefusedAndNothingHangs()
    {
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        for (var round = 0; round < 15; round++)
        {
            var container = await TestContainer.RunAsync(Supervisor, b => b.Script($"usleep {round * 7000}"));
            var execs = await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
            {
                using var call = Supervisor.Containers.StartProcessAsync(container.ExecRequest("sleep", "1000"));
                var outcome = await Refusal.OutcomeAsync(call);
                return outcome.StatusCode == Grpc.Core.StatusCode.OK ? (await call.ResponseAsync).Process.Pid : 0;
            }));
            Assert.That((await container.WaitAsync(deadline: TimeSpan.FromSeconds(15))).Status, Is.Zero);
            Assert.That(await container.StatusAsync(), Is.EqualTo(Status.Stopped));
            await events.WaitForExitAsync(container.Id, container.Pid, Poll.Deadline);
            foreach (var pid in execs.Where(pid => pid != 0))
            {
                Assert.That(events.ExitsOf(container.Id).Count(e => e.Pid == pid), Is.EqualTo(1));
            }

            await container.DeleteAsync();
        }

        events.AssertOrder();
    }

    [Test]
    public async Task Exec_WithLabelsOfTheTime_FieldsRoundTrip()
    {
        var container = await TestContainer.RunAsync(Supervisor);
        var request = new StartProcessRequest
        {
            ContainerId = container.Id,
            Process = new Process { Args = { "sh", "-c", "sleep 1000" }, Env = { "EMPTY=", "WITH=a=b" }, Cwd = "/", User = new User() },
        };
        var process = (await Supervisor.Containers.StartProcessAsync(request)).Process;
        Assert.That(process.Env, Does.Contain("EMPTY=").And.Contain("WITH=a=b"));
        Assert.That(process.Args, Is.EqualTo(new[] { "sh", "-c", "sleep 1000" }));
    }
}
