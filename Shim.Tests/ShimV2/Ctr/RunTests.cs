using System.Globalization;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Ctr;

/// <summary>Everyday life: containers that containerd's own client runs through containerd and our shim.</summary>
public sealed class RunTests
{
    private TestContainerd _containerd = null!;

    [OneTimeSetUp]
    public async Task StartAsync() => _containerd = await TestContainerd.StartAsync();

    [OneTimeTearDown]
    public async Task EndAsync()
    {
        if (_containerd is not null)
        {
            await _containerd.DisposeAsync();
        }
    }

    [TestCase("echo hello; exit 3", 3, "hello\n")]
    [TestCase("head -c 1000000 /dev/zero | tr '\\0' x", 0, null)]
    [TestCase("sh -c 'kill -KILL $$'; exit $?", 137, "")]
    public async Task Run_OutputAndStatusArrive(string script, int status, string? output)
    {
        var run = await _containerd.RunAsync(_containerd.NewId(), script);
        Assert.That(run.OutputOf(status), Is.EqualTo(output ?? new string('x', 1_000_000)));
    }

    [Test]
    public async Task Run_StdinAndStderr_AreThemselves()
    {
        var run = await _containerd.CtrWithInputAsync("some words\n", _containerd.RunArguments(_containerd.NewId(), ["--rm"], "sh", "-c", "wc -w; echo oops >&2"));
        Assert.That((run.OutputOf(), run.Error), Is.EqualTo(("2\n", "oops\n")));
    }

    [Test]
    public async Task Run_MissingProgram_SaysSo_AndLeavesNothing()
    {
        var id = _containerd.NewId();
        var run = await _containerd.CtrAsync(_containerd.RunArguments(id, ["--rm"], "no-such-program"));
        Assert.That(run.ExitCode, Is.Not.Zero);
        Assert.That(run.Error, Does.Contain("no-such-program").And.Contain("not found"));
        Assert.That(await _containerd.TaskAsync(id), Is.Null);
    }

    [Test]
    public async Task Run_Terminal_HasItsSizeAndItsKeys()
    {
        using var ctr = _containerd.CtrOnTerminal(_containerd.RunArguments(_containerd.NewId(), ["--rm", "--tty"], "sh"));
        await ctr.RawAsync();
        ctr.Type(UntilSize(33, 101));
        await ctr.SeeAsync("size seen");
        ctr.Resize(77, 22);
        ctr.Signal(Mono.Unix.Native.Signum.SIGWINCH);
        ctr.Type(UntilSize(22, 77));
        await ctr.SeeAsync("size seen");
        ctr.Type("exit 4\n");
        await ctr.EndAsync(4);
    }

    [Test]
    public async Task Exec_OutputStdinAndStatusArrive()
    {
        var id = _containerd.NewId();
        await _containerd.RunDetachedAsync(id);
        Assert.That((await _containerd.ExecAsync(id, "e1", "echo hello; exit 5")).OutputOf(5), Is.EqualTo("hello\n"));
        var counted = await _containerd.CtrWithInputAsync("a b c", _containerd.ExecArguments(id, "e2", [], "wc", "-w"));
        Assert.That(counted.OutputOf(), Is.EqualTo("3\n"));

        // The name is free again.
        Assert.That((await _containerd.ExecAsync(id, "e1", "exit 0")).OutputOf(), Is.Empty);
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Exec_MissingProgram_SaysSo_AndTheNameIsFreeAgain()
    {
        var id = _containerd.NewId();
        await _containerd.RunDetachedAsync(id);
        var run = await _containerd.CtrAsync(_containerd.ExecArguments(id, "e1", [], "no-such-program"));
        Assert.That(run.ExitCode, Is.Not.Zero);
        Assert.That(run.Error, Does.Contain("no-such-program"));
        (await _containerd.ExecAsync(id, "e1", "true")).OutputOf();
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Exec_Terminal_HasItsKeys_AndCtrlCReachesIt()
    {
        var id = _containerd.NewId();
        await _containerd.RunDetachedAsync(id);
        using (var ctr = _containerd.CtrOnTerminal(_containerd.ExecArguments(id, "e1", ["--tty"], "sh")))
        {
            await ctr.RawAsync();
            ctr.Type(UntilSize(33, 101));
            await ctr.SeeAsync("size seen");
            ctr.Type("trap 'echo inter\"\"rupted' INT; echo wait''ing; sleep 1000000\n");
            await ctr.SeeAsync("waiting");
            ctr.Type("\u0003");
            await ctr.SeeAsync("interrupted");
            ctr.Type("exit 6\n");
            await ctr.EndAsync(6);
        }

        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Kill_InitAndExec_ByNameAndBySignal()
    {
        var id = _containerd.NewId();
        var pid = await _containerd.RunDetachedAsync(id, "trap 'exit 9' TERM; while true; do sleep 0.05; done");
        (await _containerd.CtrAsync(_containerd.ExecArguments(id, "e1", ["--detach"], "sleep", "1000000"))).OutputOf();
        await using (var shim = await _containerd.ShimOfAsync(id))
        {
            (await _containerd.CtrAsync("task", "kill", "--exec-id", "e1", "--signal", "SIGKILL", id)).OutputOf();
            Assert.That((await shim.WaitAsync(id, "e1")).ExitStatus, Is.EqualTo(137u));
            (await _containerd.CtrAsync("task", "kill", "--signal", "SIGTERM", id)).OutputOf();
            Assert.That((await shim.WaitAsync(id)).ExitStatus, Is.EqualTo(9u));
        }

        Assert.That(HostProcess.Runs(pid), Is.False);
        Assert.That(await _containerd.TaskAsync(id), Is.EqualTo((pid, "STOPPED")));
        Assert.That(await _containerd.DeleteTaskAsync(id), Is.EqualTo(9));
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Kill_All_EndsEveryProcess()
    {
        var id = _containerd.NewId();
        var pid = await _containerd.RunDetachedAsync(id, "sleep 1000000 & sleep 1000000 & wait");
        (await _containerd.CtrAsync("task", "kill", "--all", "--signal", "SIGKILL", id)).OutputOf();
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of init");
        Assert.That(await _containerd.DeleteTaskAsync(id), Is.EqualTo(137));
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task PauseAndResume_TheStateShows()
    {
        var id = _containerd.NewId();
        var pid = await _containerd.RunDetachedAsync(id);
        (await _containerd.CtrAsync("task", "pause", id)).OutputOf();
        Assert.That(await _containerd.TaskAsync(id), Is.EqualTo((pid, "PAUSED")));
        Assert.That((await _containerd.ExecAsync(id, "e1", "true")).ExitCode, Is.Not.Zero, "no process is added to a paused container");
        (await _containerd.CtrAsync("task", "resume", id)).OutputOf();
        Assert.That(await _containerd.TaskAsync(id), Is.EqualTo((pid, "RUNNING")));
        (await _containerd.ExecAsync(id, "e1", "true")).OutputOf();
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Metrics_AreThoseOfTheCgroup()
    {
        var id = _containerd.NewId();
        await _containerd.RunDetachedAsync(id, "dd if=/dev/zero of=/tmp/x bs=1M count=8 2>/dev/null; sleep 1000000", "--mount", "type=tmpfs,src=tmpfs,dst=/tmp");
        await Poll.For(
            async () => Usage((await _containerd.CtrAsync("task", "metrics", "--format", "json", id)).OutputOf()),
            usage => usage >= 8 << 20,
            Poll.Deadline,
            "8 MiB in a tmpfs among the container's memory");
        await _containerd.RemoveAsync(id);

        static long Usage(string metrics)
        {
            using var json = System.Text.Json.JsonDocument.Parse(metrics);
            var memory = json.RootElement.GetProperty("memory").GetProperty("usage");
            return Machine.CgroupV1 ? memory.GetProperty("usage").GetInt64() : memory.GetInt64();
        }
    }

    [Test]
    public async Task Processes_ExecsAreNamed()
    {
        var id = _containerd.NewId();
        var pid = await _containerd.RunDetachedAsync(id);
        (await _containerd.CtrAsync(_containerd.ExecArguments(id, "the-exec", ["--detach"], "sleep", "1000000"))).OutputOf();
        var list = (await _containerd.CtrAsync("task", "ps", id)).OutputOf();
        Assert.That(list, Does.Match($@"(?m)^{pid} +-\s*$"));
        Assert.That(list, Does.Match(@"(?m)^\d+ .*the-exec"));
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task CreateThenStart_OutputAndStatusArrive()
    {
        var id = _containerd.NewId();
        var fifos = _containerd.PathOf(id);
        var bundle = new BundleBuilder(_containerd.PathOf("")).Script("echo hello; exit 3").InCgroup($"{_containerd.Namespace}/{id}").Write();
        (await _containerd.CtrAsync("container", "create", "--runtime", TestContainerd.Runtime, "--config", bundle.Config, id)).OutputOf();
        Assert.That((await _containerd.CtrAsync("task", "start", "--fifo-dir", fifos, id)).OutputOf(3), Is.EqualTo("hello\n"));
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task DeleteOfARunningTask_Refused()
    {
        var id = _containerd.NewId();
        var pid = await _containerd.RunDetachedAsync(id);
        var refused = await _containerd.CtrAsync("task", "rm", id);
        Assert.That(refused.ExitCode, Is.Not.Zero);
        await using var shim = await _containerd.ShimOfAsync(id);
        await TaskClient.RefusedAsync(shim.DeleteAsync(id), Grpc.Core.StatusCode.FailedPrecondition, "running");
        Assert.That(await _containerd.TaskAsync(id), Is.EqualTo((pid, "RUNNING")));
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task LogFile_GetsBothStreams()
    {
        var id = _containerd.NewId();
        var file = _containerd.PathOf($"{id}.log");
        (await _containerd.CtrAsync(_containerd.RunArguments(id, ["--detach", "--log-uri", $"file://{file}"], "sh", "-c", "echo out; echo err >&2"))).OutputOf();
        await Poll.For(() => File.ReadAllText(file), text => text == "out\nerr\n", Poll.Deadline, "both lines in the file");
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Logger_IsStarted_AndTold()
    {
        var id = _containerd.NewId();
        var logger = _containerd.PathOf("logger.sh");
        var output = _containerd.PathOf($"{id}.log");
        await File.WriteAllTextAsync(logger, "#!/bin/sh\n{ echo $CONTAINER_NAMESPACE/$CONTAINER_ID $1=$2; exec 5>&-; cat <&3; } >$2\n");
        File.SetUnixFileMode(logger, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        (await _containerd.CtrAsync(_containerd.RunArguments(id, ["--detach", "--log-uri", $"binary://{logger}?to={output}"], "echo", "hello"))).OutputOf();
        await Poll.For(
            () => File.ReadAllText(output), text => text == $"{_containerd.Namespace}/{id} to={output}\nhello\n", Poll.Deadline, "what the logger was told and read");
        await _containerd.RemoveAsync(id);
    }

    [Test]
    public async Task Shim_HasItsFilesAndItsOomScore_AndItsLogIsContainerds()
    {
        var id = _containerd.NewId();
        await _containerd.RunDetachedAsync(id);
        var address = _containerd.ShimAddressOf(id);
        var pid = await _containerd.ShimPidOfAsync(id);
        var socket = Shim.Bootstrap.ShimV2.ShimSocket.PathOf(_containerd.Address, _containerd.Namespace, id);
        Assert.Multiple(() =>
        {
            Assert.That(address, Is.EqualTo($"unix://{socket}"));
            Assert.That(File.GetUnixFileMode(socket), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
            Assert.That(File.GetUnixFileMode(Path.Combine(_containerd.BundleOf(id), "address")), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
            Assert.That(Score(pid), Is.EqualTo(Math.Min(Score(_containerd.Pid) + 1, 1000)));
            Assert.That(_containerd.Log, Does.Contain($"pid {pid}, serves {_containerd.Namespace}/{id} by ttrpc"));
            Assert.That(File.ReadAllText("/proc/net/unix"), Does.Not.Match($"@.*{id}"), "no abstract socket");
        });
        await _containerd.RemoveAsync(id);
        await Poll.Until(() => !HostProcess.Runs(pid) && !File.Exists(socket), Poll.Deadline, "the end of the shim and its socket");

        static int Score(int pid) => int.Parse(HostProcess.ReadFile(pid, "oom_score_adj")!, CultureInfo.InvariantCulture);
    }

    [Test]
    public async Task Grouping_ByAnnotation_OneShimForAll_WhichEndsWithTheLast()
    {
        string[] ids = [_containerd.NewId(), _containerd.NewId()];
        string[] group = ["--annotation", $"io.containerd.runc.v2.group={_containerd.Known($"{ids[0]}-group")}"];
        await _containerd.RunDetachedAsync(ids[0], options: group);
        await _containerd.RunDetachedAsync(ids[1], options: group);
        var pid = await _containerd.ShimPidOfAsync(ids[0]);
        Assert.That(await _containerd.ShimPidOfAsync(ids[1]), Is.EqualTo(pid));
        Assert.That(_containerd.ShimAddressOf(ids[1]), Is.EqualTo(_containerd.ShimAddressOf(ids[0])));
        await _containerd.RemoveAsync(ids[0]);
        Assert.That((await _containerd.ExecAsync(ids[1], "e1", "echo still here")).OutputOf(), Is.EqualTo("still here\n"));
        await _containerd.RemoveAsync(ids[1]);
        await Poll.Until(() => !HostProcess.Runs(pid), Poll.Deadline, "the end of the shim");
    }

    // The text that is waited for must not be in what the terminal echoes.
    private static string UntilSize(int rows, int columns) => $"until [ \"$(stty size)\" = '{rows} {columns}' ]; do sleep 0.02; done; echo size se''en\n";
}
