using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Cli;

/// <summary>The client as a person uses it: the real program, a real supervisor, real containers.</summary>
public sealed class ClientTests : SupervisorTests
{
    private static string Rootfs => BusyboxRootfs.Path;

    [TearDown]
    public void NoFilesOfOurs()
    {
        var left = new[] { "b", "io" }
            .Select(name => Path.Combine(Supervisor.Root, name))
            .Where(Directory.Exists)
            .SelectMany(Directory.GetDirectories)
            .ToList();

        // The next test is not to blame.
        left.ForEach(directory => Directory.Delete(directory, recursive: true));
        Assert.That(left, Is.Empty);
    }

    [TestCase("exit 0", 0)]
    [TestCase("exit 3", 3)]
    [TestCase("exit 125", 125)]
    [TestCase("exit 255", 255)]
    [TestCase("sh -c 'kill -9 $$'", 137)]
    public async Task Run_Foreground_ExitsAsTheProcessDoes(string script, int expected)
    {
        var run = await Client("run", "--rm", "--rootfs", Rootfs, NewId(), "sh", "-c", $"{script}; exit $?");

        Assert.That((run.ExitCode, run.Error), Is.EqualTo((expected, expected == 137 ? "Killed\n" : "")));
    }

    [TestCase("nope", 127, "executable file not found")]
    [TestCase("/nope", 127, "no such file or directory")]
    [TestCase("/etc/not-executable", 126, "permission denied")]
    [TestCase("-x", 127, "not found")]
    public async Task Run_CommandThatCannotStart_SaysSoAndLeavesNothing(string command, int exitCode, string cause)
    {
        var run = await Client("run", "--rm", "--rootfs", Rootfs, NewId(), command);

        Assert.That(run.ErrorOf(exitCode), Does.StartWith("supervisor: run: ").And.Contain(cause));
        Assert.That(JsonNode.Parse((await Client("list", "--output", "json")).OutputOf())!.AsArray(), Is.Empty);
    }

    [Test]
    public async Task Run_Streams_AreSeparateAndComplete()
    {
        var run = await Client("run", "--rm", "--rootfs", Rootfs, NewId(), "sh", "-c", "echo out; echo err >&2; seq 1 300000; printf end");

        var output = run.OutputOf();
        Assert.That(run.Error, Is.EqualTo("err\n"));
        Assert.That(output, Does.StartWith("out\n1\n").And.EndsWith("300000\nend"));
        Assert.That(output.Count(c => c == '\n'), Is.EqualTo(300001));
    }

    [Test]
    public async Task Run_AppendedFile_KeepsWhatWasThere()
    {
        var file = Path.Combine(Supervisor.NewDirectory(), "out");
        await File.WriteAllTextAsync(file, "before\n");

        var run = await Shell($"$SUPERVISOR run --rm --rootfs {Rootfs} {NewId()} seq 1 1000 >>{file}");

        Assert.That(run.Error + run.OutputOf(), Is.Empty);
        Assert.That(await File.ReadAllTextAsync(file), Is.EqualTo("before\n" + string.Concat(Enumerable.Range(1, 1000).Select(i => $"{i}\n"))));
    }

    [Test]
    public async Task Run_Stdin_ReachesTheProcessToTheLastByteAndEnds()
    {
        var input = string.Concat(Enumerable.Range(1, 200_000).Select(i => $"line {i}\n"));

        var run = await CliRun.RunAsync(Supervisor, input, "run", "--rm", "-i", "--rootfs", Rootfs, NewId(), "sha256sum");

        Assert.That(run.OutputOf(), Does.StartWith(Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(input)))));
    }

    [Test]
    public async Task Run_WithoutInteractive_StdinIsEmpty()
    {
        var run = await CliRun.RunAsync(Supervisor, "not for the container", "run", "--rm", "--rootfs", Rootfs, NewId(), "cat");

        Assert.That(run.OutputOf(), Is.Empty);
    }

    [Test]
    public async Task Run_Choices_ReachTheProcess()
    {
        var id = NewId();
        var run = await Client(
            "run", "--rm", "--rootfs", Rootfs, "--user", "user", "--env", "A=b c", "--env", "PATH=/bin", "--cwd", "/home/user", id,
            "sh", "-c", "id -u; id -g; echo $A; echo $PATH; pwd; hostname; grep NoNewPrivs /proc/self/status");

        Assert.That(run.OutputOf(), Is.EqualTo($"1000\n1000\nb c\n/bin\n/home/user\n{id}\nNoNewPrivs:\t1\n"));
    }

    [Test]
    public async Task Run_BundleAsItIsAndAdjusted()
    {
        var bundle = Supervisor.NewBundle().Args("sh", "-c", "echo bundle $X").Write();

        var asItIs = await Client("run", "--rm", "--bundle", bundle.Path, NewId());
        var adjusted = await Client("run", "--rm", "--bundle", bundle.Path, "--env", "X=adjusted", NewId(), "sh", "-c", "echo mine $X");

        Assert.That(asItIs.OutputOf(), Is.EqualTo("bundle\n"));
        Assert.That(adjusted.OutputOf(), Is.EqualTo("mine adjusted\n"));
    }

    [Test]
    public async Task Run_UsedId_IsRefusedAndTheContainerUnharmed()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sleep", "1000")).OutputOf();

        var second = await Client("run", "--rm", "--rootfs", Rootfs, id, "true");

        Assert.That(second.ErrorOf(125), Does.Contain($"{id} already exists"));
        Assert.That((await Client("exec", id, "echo", "alive")).OutputOf(), Is.EqualTo("alive\n"));
        (await Client("delete", "--force", id)).OutputOf();
    }

    [Test]
    public async Task Run_Detached_LogsAndWaits()
    {
        var id = NewId();
        Assert.That((await Client("run", "-d", "--rootfs", Rootfs, id, "sh", "-c", "echo out; echo err >&2; exit 9")).OutputOf(), Is.EqualTo($"{id}\n"));

        Assert.That((await Client("wait", id)).OutputOf(9), Is.EqualTo("9\n"));
        var log = await Client("logs", "-f", id);
        Assert.That((log.OutputOf(), log.Error), Is.EqualTo(("out\n", "err\n")));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(Supervisor.Root, "b", id, "output.log")), Does.Match(@"^\S+Z stdout F out\n\S+Z stderr F err\n$"));
        Assert.That(File.GetUnixFileMode(Path.Combine(Supervisor.Root, "b", id)), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));
        Assert.That((await Client("delete", id)).OutputOf(), Is.EqualTo($"{id}\n"));
    }

    [Test]
    public async Task Run_Signals_ArePassedOn()
    {
        using var client = CliRun.Start(
            Supervisor, "run", "--rm", "--rootfs", Rootfs, NewId(), "sh", "-c", "trap 'echo got; exit 33' TERM; echo ready; while :; do sleep 0.05; done");
        Assert.That(await client.StandardOutput.ReadLineAsync().WithinAsync(TimeSpan.FromSeconds(20), "the container"), Is.EqualTo("ready"));
        _ = Syscall.kill(client.Id, Signum.SIGTERM);

        var run = await CliRun.EndAsync(client, "");

        Assert.That(run.OutputOf(33), Is.EqualTo("got\n"));
    }

    [Test]
    public async Task Run_ThirdSignal_EndsTheClientAndDeletes()
    {
        var id = NewId();
        using var client = CliRun.Start(Supervisor, "run", "--rm", "--rootfs", Rootfs, id, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        Assert.That(await client.StandardOutput.ReadLineAsync().WithinAsync(TimeSpan.FromSeconds(20), "the container"), Is.EqualTo("ready"));
        for (var i = 0; i < 3; i++)
        {
            _ = Syscall.kill(client.Id, Signum.SIGTERM);
            // One signal at a time: two that are pending at once are one.
            await Task.Delay(200);
        }

        Assert.That((await CliRun.EndAsync(client, "")).ExitCode, Is.EqualTo(143));
        Assert.That((await Client("inspect", id)).ErrorOf(125), Does.Contain("no such container"));
    }

    [Test]
    public async Task Run_ReaderThatLeaves_EndsAContainerThatNobodyKeeps()
    {
        var run = await Shell($"$SUPERVISOR run --rm --rootfs {Rootfs} {NewId()} yes | head -n 2; echo ${{PIPESTATUS[0]}}");

        Assert.That(run.OutputOf(), Is.EqualTo("y\ny\n141\n"));
    }

    [Test]
    public async Task Run_SupervisorRestarts_TheClientDoesNotNotice([Values] bool hard)
    {
        using var client = CliRun.Start(Supervisor, "run", "--rm", "-i", "--rootfs", Rootfs, NewId(), "sh", "-c", "echo ready; read line; echo \"got $line\"; exit 21");
        Assert.That(await client.StandardOutput.ReadLineAsync().WithinAsync(TimeSpan.FromSeconds(20), "the container"), Is.EqualTo("ready"));
        await Supervisor.RestartAsync(hard);

        var run = await CliRun.EndAsync(client, "after\n");

        Assert.That(run.OutputOf(21), Is.EqualTo("got after\n"));
    }

    [Test]
    public async Task Run_Terminal_HasOurSizeAndGivesOursBack()
    {
        var script = $"stty rows 33 cols 101; stty -g >/tmp/$$.before; $SUPERVISOR run --rm -it --rootfs {Rootfs} {NewId()} sh -c 'stty size; tty; read x; exit 5';"
            + " echo rc=$?; stty -g | cmp - /tmp/$$.before && echo restored; rm /tmp/$$.before";
        using var terminal = CliRun.Start(Supervisor, "/usr/bin/script", ["-qec", script, "/dev/null"]);

        // script passes its input on at once; the container's shell reads it when it gets there.
        await terminal.StandardInput.WriteAsync("\n");
        await terminal.StandardInput.FlushAsync();
        var output = await terminal.StandardOutput.ReadToEndAsync().WithinAsync(TimeSpan.FromSeconds(30), "the terminal");

        Assert.That(output, Does.Contain("33 101").And.Contain("/dev/pts/0").And.Contain("rc=5").And.Contain("restored"));
    }

    [Test]
    public async Task Exec_EveryWay_Works()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sleep", "1000")).OutputOf();

        Assert.That((await Client("exec", id, "sh", "-c", "echo out; echo err >&2; exit 7")).OutputOf(7), Is.EqualTo("out\n"));
        Assert.That((await CliRun.RunAsync(Supervisor, "in\n", "exec", "-i", id, "cat")).OutputOf(), Is.EqualTo("in\n"));
        Assert.That((await Client("exec", "--user", "user", "--env", "A=1", "--cwd", "/tmp", id, "sh", "-c", "id -un; echo $A; pwd")).OutputOf(), Is.EqualTo("user\n1\n/tmp\n"));
        Assert.That((await Client("exec", id, "nope")).ErrorOf(127), Does.Contain("executable file not found"));
        Assert.That((await Client("exec", id, "/etc/not-executable")).ErrorOf(126), Does.Contain("permission denied"));
        Assert.That((await Client("exec", "-t", id, "tty")).OutputOf(), Is.EqualTo("/dev/pts/0\r\n"));

        var pid = (await Client("exec", "-d", id, "sh", "-c", "sleep 0.3; exit 8")).OutputOf().Trim();
        Assert.That((await Client("wait", "--pid", pid, id)).OutputOf(8), Is.EqualTo("8\n"));
        Assert.That((await Client("ps", id)).OutputOf(), Does.Match($@"(?m)^\s*{pid}   0:0    stopped   8      sh -c 'sleep 0.3; exit 8'$"));
        (await Client("delete", "--force", id)).OutputOf();
    }

    [Test]
    public async Task Exec_BackgroundChildKeepsTheStream_ReturnsAllTheSame()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sleep", "1000")).OutputOf();
        var begun = TimeProvider.System.GetTimestamp();

        var run = await Client("exec", id, "sh", "-c", "echo done; sleep 600 &");

        Assert.That(run.OutputOf(), Is.EqualTo("done\n"));
        Assert.That(TimeProvider.System.GetElapsedTime(begun), Is.LessThan(TimeSpan.FromSeconds(20)));
        (await Client("delete", "--force", id)).OutputOf();
    }

    [Test]
    public async Task Life_StepByStep_EveryVerb()
    {
        var id = NewId();
        var pid = (await Client("create", "--rootfs", Rootfs, id, "sh", "-c", "trap 'exit 12' USR1; while :; do sleep 0.05; done")).OutputOf().Trim();
        Assert.That((await Client("list")).OutputOf(), Does.Match($@"(?m)^{id}\s+created\s+{pid}\s+\S+\s+\S+/b/{id}$"));
        (await Client("start", id)).OutputOf();
        Assert.That((await Client("start", id)).ErrorOf(125), Does.StartWith("supervisor: start: "));
        Assert.That((await Client("delete", id)).ErrorOf(125), Does.Contain("is running").And.Contain("--force"));
        (await Client("pause", id)).OutputOf();
        Assert.That((await Client("ls")).OutputOf(), Does.Contain("paused"));
        Assert.That((await Client("delete", id)).ErrorOf(125), Does.Contain("is paused"));
        (await Client("resume", id)).OutputOf();
        Assert.That((await Client("stats", "--no-stream", id)).OutputOf(), Does.StartWith("ID").And.Contain(id));
        Assert.That((string?)JsonNode.Parse((await Client("stats", "--no-stream", "--output", "json")).OutputOf())![0]!["containerId"], Is.EqualTo(id));
        Assert.That((await Client("resize", "--pid", pid, "10x10", id)).ErrorOf(125), Does.Contain("terminal"));
        Assert.That((int?)JsonNode.Parse((await Client("inspect", id)).OutputOf())!["pid"], Is.EqualTo(int.Parse(pid, System.Globalization.CultureInfo.InvariantCulture)));
        Assert.That((await Client("inspect", "--output", "table", id)).OutputOf(), Does.Contain("status:").And.Contain("shim:"));
        (await Client("kill", "-s", "usr1", id)).OutputOf();
        Assert.That((await Client("wait", id)).OutputOf(12), Is.EqualTo("12\n"));
        Assert.That((await Client("list")).OutputOf(), Does.Contain("stopped (12)"));
        Assert.That((await Client("delete", id, "nosuch")).ErrorOf(125), Does.Contain("delete nosuch: ").And.Not.Contain($"delete {id}"));

        var events = (await Client("events", "--since", "0", "--no-follow", "--id", id)).OutputOf();
        Assert.That(events.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ')[4]), Is.EqualTo(new[] { "created", "started", "paused", "resumed", "exited", "deleted" }));
        var json = (await Client("events", "--since", "0", "--no-follow", "--id", id, "--output", "json")).OutputOf();
        Assert.That(json.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => (string?)JsonNode.Parse(line)!["containerId"]), Is.All.EqualTo(id));
    }

    [Test]
    public async Task Shim_DirectVerbs_TalkToOneShim()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sleep", "1000")).OutputOf();
        var socket = (string)JsonNode.Parse((await Client("inspect", id)).OutputOf())!["shim"]!["socket"]!;
        var log = Path.Combine(Supervisor.NewDirectory(), "exec.log");

        Assert.That((string?)JsonNode.Parse((await Client("shim", "state", "--socket", socket)).OutputOf())!["status"], Is.EqualTo("RUNNING"));
        var pid = (int)JsonNode.Parse((await Client("shim", "exec", "--socket", socket, "--stdout", $"file://{log}", "sh", "-c", "echo direct; exit 6")).OutputOf())!["pid"]!;
        Assert.That((int?)JsonNode.Parse((await Client("shim", "wait", "--socket", socket, "--pid", $"{pid}")).OutputOf())!["exit"]!["status"], Is.EqualTo(6));
        Assert.That(await File.ReadAllTextAsync(log), Is.EqualTo("direct\n"));
        (await Client("shim", "delete", "--socket", socket, "--pid", $"{pid}")).OutputOf();
        (await Client("shim", "pause", "--socket", socket)).OutputOf();
        (await Client("shim", "resume", "--socket", socket)).OutputOf();
        Assert.That(JsonNode.Parse((await Client("shim", "dump", "--socket", socket)).OutputOf())!["gauges"]!.AsObject(), Is.Not.Empty);
        (await Client("shim", "kill", "--socket", socket, "-s", "KILL")).OutputOf();
        Assert.That((await Client("shim", "events", "--socket", socket, "--no-follow")).OutputOf(), Does.Contain("\"EXIT\""));
        Assert.That((await Client("shim", "state")).ErrorOf(125), Does.Contain("--socket"));
        Assert.That((await Client("wait", id)).OutputOf(137), Is.EqualTo("137\n"));
        (await Client("delete", id)).OutputOf();
    }

    [Test]
    public async Task Info_AndVersion_NameTheDaemon()
    {
        Assert.That((await Client("info")).OutputOf(), Does.Contain(Supervisor.Root));
        Assert.That((int?)JsonNode.Parse((await Client("info", "--output", "json")).OutputOf())!["pid"], Is.EqualTo(Supervisor.ProcessId));
        Assert.That((await Client("version")).OutputOf(), Does.Match(@"^supervisor (\S+)\ndaemon \1\n$"));
    }

    private static string NewId() => TestRun.NewName("cli");

    private Task<CliRun> Client(params string[] arguments) => CliRun.RunAsync(Supervisor, "", arguments);

    private async Task<CliRun> Shell(string script)
    {
        using var shell = CliRun.Start(Supervisor, "/bin/bash", ["-c", script]);
        return await CliRun.EndAsync(shell, "", script);
    }
}
