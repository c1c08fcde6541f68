using System.Security.Cryptography;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Cli;

/// <summary><c>supervisor logs</c> of real containers.</summary>
public sealed class LogsTests : SupervisorTests
{
    private static string Rootfs => BusyboxRootfs.Path;

    // The containers themselves are deleted without the command line.
    [TearDown]
    public void RemoveBundles()
    {
        var left = Directory.Exists(Path.Combine(Supervisor.Root, "b")) ? Directory.GetDirectories(Path.Combine(Supervisor.Root, "b")) : [];
        Array.ForEach(left, directory => Directory.Delete(directory, recursive: true));
    }

    [TestCase("cri")]
    [TestCase("docker-json")]
    public async Task Logs_BothStreams_ComeBackAsTheyWere(string format)
    {
        var id = NewId();
        var log = Path.Combine(Supervisor.NewDirectory(), "a log");
        (await Client("run", "-d", "--log", $"log://{log.Replace(" ", "%20", StringComparison.Ordinal)}?format={format}", "--rootfs", Rootfs, id, "sh", "-c",
            "i=1; while [ $i -le 5 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf 'no newline'")).OutputOf();
        (await Client("wait", id)).OutputOf();
        await Poll.Until(async () => (await Client("logs", id)).Output.EndsWith("no newline", StringComparison.Ordinal), Poll.Deadline, "the end of the log");

        var all = await Client("logs", id);
        Assert.That((all.ExitCode, all.Output, all.Error), Is.EqualTo((0, "out 1\nout 2\nout 3\nout 4\nout 5\nno newline", "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n")));
        var tail = await Client("logs", "--tail", "3", id);

        // Which ones they are depends on which stream the shim has read first.
        Assert.That($"{tail.Output}\n{tail.Error}".Split('\n', StringSplitOptions.RemoveEmptyEntries), Has.Length.EqualTo(3), () => tail.ToString());
        Assert.That((await Client("logs", "--tail", "all", id)).OutputOf(), Is.EqualTo(all.Output));
        Assert.That((await Client("logs", "--tail", "0", id)).OutputOf(), Is.Empty);
        Assert.That((await Client("logs", "-t", id)).OutputOf(), Does.Match(@"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out \d\n){5}\S+Z no newline$"));
        Assert.That((await Client("logs", "--since", "1h", id)).OutputOf(), Is.EqualTo(all.Output));
        Assert.That((await Client("logs", "--until", "1h", id)).OutputOf(), Is.Empty);
        Assert.That((await Client("logs", "-f", "--until", "1h", id)).OutputOf(), Is.Empty);
        Assert.That((await Shell($"$SUPERVISOR logs {id} 2>&1 >/dev/null | wc -l")).OutputOf(), Is.EqualTo("5\n"));
    }

    [Test]
    public async Task Logs_AnyBytes_ComeBack()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "cat", "/bin/busybox")).OutputOf();
        (await Client("wait", id)).OutputOf();

        var expected = Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync(BusyboxRootfs.Busybox)));
        Assert.That((await Shell($"$SUPERVISOR logs -f {id} | sha256sum")).OutputOf(), Does.StartWith(expected));
    }

    [Test]
    public async Task Follow_AcrossRotations_EveryLineOnceAndThenTheEnd()
    {
        var id = NewId();
        var log = Path.Combine(Supervisor.NewDirectory(), "log");
        (await Client("create", "--log", $"log://{log}?max-size=64k&max-files=100", "--rootfs", Rootfs, id, "sh", "-c",
            "i=0; while [ $i -lt 40 ]; do seq $((i*1000+1)) $((i*1000+1000)); i=$((i+1)); sleep 0.02; done; exit 4")).OutputOf();
        using var follower = CliRun.Start(Supervisor, "logs", "-f", id);
        (await Client("start", id)).OutputOf();

        var run = await CliRun.EndAsync(follower, "");
        Assert.That(run.OutputOf(), Is.EqualTo(string.Concat(Enumerable.Range(1, 40_000).Select(i => $"{i}\n"))));
        Assert.That(run.Error, Is.Empty);
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(log)!), Has.Length.GreaterThan(10));
        Assert.That((await Client("logs", "--tail", "30000", id)).OutputOf(), Is.EqualTo(string.Concat(Enumerable.Range(10_001, 30_000).Select(i => $"{i}\n"))));
    }

    [Test]
    public async Task Follow_ContainerIsDeleted_Ends()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sh", "-c", "echo ready; sleep 1000")).OutputOf();
        using var follower = CliRun.Start(Supervisor, "logs", "-f", id);
        Assert.That(await follower.StandardOutput.ReadLineAsync().WithinAsync(Poll.Deadline, "the first line"), Is.EqualTo("ready"));
        (await Client("delete", "--force", id)).OutputOf();

        var run = await CliRun.EndAsync(follower, "");
        Assert.That(run.OutputOf() + run.Error, Is.Empty);
    }

    [Test]
    public async Task Follow_SupervisorRestarts_GoesOn([Values] bool hard)
    {
        var id = NewId();
        (await Client("run", "-d", "-i", "--rootfs", Rootfs, id, "sh", "-c", "echo ready; read line; echo $line")).OutputOf();
        using var follower = CliRun.Start(Supervisor, "logs", "-f", id);
        Assert.That(await follower.StandardOutput.ReadLineAsync().WithinAsync(Poll.Deadline, "the first line"), Is.EqualTo("ready"));
        await Supervisor.RestartAsync(hard);
        await File.WriteAllTextAsync(Path.Combine(Supervisor.Root, "b", id, "stdin"), "after\n");

        var run = await CliRun.EndAsync(follower, "");
        Assert.That(run.OutputOf() + run.Error, Is.EqualTo("after\n"));
    }

    [Test]
    public async Task Follow_ReaderLeaves_EndsEvenIfNothingMoreComes()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sh", "-c", "echo ready; sleep 1000")).OutputOf();

        Assert.That((await Shell($"$SUPERVISOR logs -f {id} | head -n 1; echo ${{PIPESTATUS[0]}}")).OutputOf(), Is.EqualTo("ready\n141\n"));
    }

    [Test]
    public async Task Follow_BackgroundChildOfAnExec_IsHeardToo()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sh", "-c", "(sleep 0.5; echo late) & echo early; sleep 1")).OutputOf();

        var run = await Client("logs", "-f", id);
        Assert.That(run.OutputOf(), Is.EqualTo("early\nlate\n"));
    }

    [Test]
    public async Task Reopen_AfterARename_TheFollowerLosesNothing()
    {
        var id = NewId();
        var log = Path.Combine(Supervisor.NewDirectory(), "log");
        (await Client("run", "-d", "--log", $"log://{log}", "--rootfs", Rootfs, id, "sh", "-c", "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.01; done")).OutputOf();
        using var follower = CliRun.Start(Supervisor, "logs", "-f", id);
        Assert.That(await follower.StandardOutput.ReadLineAsync().WithinAsync(Poll.Deadline, "the first line"), Is.EqualTo("0"));
        File.Move(log, log + "-old");
        Assert.That((await Client("logs", "--reopen", id)).OutputOf(), Is.Empty);
        Assert.That(File.Exists(log), Is.True);

        var run = await CliRun.EndAsync(follower, "");
        Assert.That(run.OutputOf() + run.Error, Is.EqualTo(string.Concat(Enumerable.Range(1, 299).Select(i => $"{i}\n"))));
        Assert.That((await File.ReadAllLinesAsync(log + "-old")).Length + (await File.ReadAllLinesAsync(log)).Length, Is.EqualTo(300));
    }

    [Test]
    public async Task Logs_PlainFile_RawBytesAndNoTimes()
    {
        var id = NewId();
        var file = Path.Combine(Supervisor.NewDirectory(), "out");
        (await Client("run", "-d", "--log", $"file://{file}", "--rootfs", Rootfs, id, "sh", "-c", "seq 1 100; echo err >&2; sleep 0.3; printf end")).OutputOf();

        Assert.That((await Client("logs", "-f", "--tail", "2", id)).OutputOf(), Does.EndWith("end"));
        Assert.That((await Client("logs", "--tail", "3", id)).OutputOf(), Is.EqualTo("100\nerr\nend"));
        Assert.That((await Client("logs", "--since", "1h", id)).ErrorOf(125), Does.Contain("plain file").And.Contain("hint: "));
        Assert.That((await Client("logs", "-t", id)).ErrorOf(125), Does.Contain("plain file"));
    }

    [Test]
    public async Task Logs_OfWhatIsInNoFile_SaysSo()
    {
        var (none, fifo) = (NewId(), NewId());
        (await Client("run", "-d", "--log", "none", "--rootfs", Rootfs, none, "sleep", "1000")).OutputOf();
        using var client = CliRun.Start(Supervisor, "run", "--rm", "--rootfs", Rootfs, fifo, "sh", "-c", "echo ready; sleep 1000");
        await client.StandardOutput.ReadLineAsync().WithinAsync(Poll.Deadline, "the container");

        Assert.That((await Client("logs", none)).ErrorOf(125), Does.Contain("it is dropped").And.Contain("hint: "));
        Assert.That((await Client("logs", fifo)).ErrorOf(125), Does.Contain("whoever reads the FIFO").And.Contain("hint: "));
        Assert.That((await Client("logs", "nosuch")).ErrorOf(125), Does.Contain("nosuch"));
        Assert.That((await Client("logs", "--reopen", "nosuch")).ErrorOf(125), Does.Contain("nosuch"));
        (await Client("delete", "--force", fifo)).OutputOf();
        Assert.That((await CliRun.EndAsync(client, "")).ExitCode, Is.EqualTo(137));
    }

    private static string NewId() => TestRun.NewName("log");

    private Task<CliRun> Client(params string[] arguments) => CliRun.RunAsync(Supervisor, "", arguments);

    private async Task<CliRun> Shell(string script)
    {
        using var shell = CliRun.Start(Supervisor, "/bin/bash", ["-c", script]);
        return await CliRun.EndAsync(shell, "", script);
    }
}

/// <summary>A supervisor that lets outputs lie in one directory only.</summary>
public sealed class LogDirectoryTests : SupervisorTests
{
    private readonly string _allowed = TestRun.NewDirectory("allowed");

    protected override SupervisorSettings Settings => new() { Arguments = ["--log-dir", _allowed, "--logger-dir", _allowed] };

    [OneTimeTearDown]
    public void RemoveAllowed() => Directory.Delete(_allowed, recursive: true);

    [Test]
    public async Task Output_OutsideOfTheAllowedDirectories_IsRefused()
    {
        var id = TestRun.NewName("dir");
        var elsewhere = Supervisor.NewDirectory();

        foreach (var address in (string[])[$"log://{elsewhere}/x", $"file://{elsewhere}/x", $"log://{_allowed}/../x", "binary:///bin/cat"])
        {
            var refused = await CliRun.RunAsync(Supervisor, "", "run", "-d", "--log", address, "--rootfs", BusyboxRootfs.Path, id, "true");
            Assert.That(refused.ErrorOf(125), Does.Contain("stdout"), address);
        }

        Assert.That(Directory.GetFiles(elsewhere), Is.Empty);
        foreach (var log in (string[][])[["--log", $"log://{_allowed}/x"], []])
        {
            (await CliRun.RunAsync(Supervisor, "", ["run", "-d", .. log, "--rootfs", BusyboxRootfs.Path, id, "echo", "hello"])).OutputOf();
            Assert.That((await CliRun.RunAsync(Supervisor, "", "logs", "-f", id)).OutputOf(), Is.EqualTo("hello\n"));
            (await CliRun.RunAsync(Supervisor, "", "delete", id)).OutputOf();
        }

        Assert.That(File.Exists(Path.Combine(_allowed, "x")), Is.True);
    }
}
