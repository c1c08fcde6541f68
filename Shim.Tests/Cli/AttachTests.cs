using Containerd.V1;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Cli;

/// <summary>Leaving and coming back, as a person on a terminal does it.</summary>
public sealed class AttachTests : SupervisorTests
{
    private const string DetachKeys = "\u0010\u0011";
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);

    private static string Rootfs => BusyboxRootfs.Path;

    // The containers themselves are deleted without the command line.
    [TearDown]
    public void RemoveBundles()
    {
        var left = Directory.Exists(Path.Combine(Supervisor.Root, "b")) ? Directory.GetDirectories(Path.Combine(Supervisor.Root, "b")) : [];
        Array.ForEach(left, directory => Directory.Delete(directory, recursive: true));
    }

    [Test]
    public async Task Run_DetachKeys_LeaveItRunningAndAttachComesBack()
    {
        var id = NewId();
        using (var first = new CliTerminal(Supervisor, "run", "-it", "--rootfs", Rootfs, id, "sh"))
        {
            first.Type("echo one-$((1+1))\n");
            await first.SeeAsync("one-2");
            Assert.That(first.IsRaw, Is.True);
            first.Type(DetachKeys);
            Assert.That(await first.EndAsync(0), Is.EqualTo($"detached from {id}; `supervisor attach {id}` comes back\n"));
        }

        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
        for (var again = 2; again <= 3; again++)
        {
            using var next = new CliTerminal(Supervisor, "attach", id);
            await next.RawAsync();
            next.Type($"echo back-$(({again}+0))\n");
            await next.SeeAsync($"back-{again}");
            next.Type(DetachKeys);
            Assert.That(await next.EndAsync(0), Does.StartWith($"detached from {id}"));
        }

        using var last = new CliTerminal(Supervisor, "attach", id);
        await last.RawAsync();
        last.Type("exit 7\n");
        Assert.That(await last.EndAsync(7), Is.Empty);
    }

    [Test]
    public async Task Run_DetachedWithRemove_StaysAndSaysSo()
    {
        var id = NewId();
        using var client = new CliTerminal(Supervisor, "run", "-it", "--rm", "--rootfs", Rootfs, id, "sh", "-c", "echo ready; cat");
        await client.SeeAsync("ready");
        client.Type(DetachKeys);

        Assert.That(await client.EndAsync(0), Does.Contain("It stays").And.Contain($"supervisor delete --force {id}"));
        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Run_OwnKeys_AndWhatOnlyBeginsLikeThem()
    {
        var id = NewId();
        using var client = new CliTerminal(
            Supervisor, "run", "-it", "--detach-keys", "ctrl-a,ctrl-a,d", "--rootfs", Rootfs, id, "sh", "-c", "stty raw -echo; echo ready; cat -v");
        await client.SeeAsync("ready");

        // One key at a time, as they are typed. The first ones only begin like the sequence.
        foreach (var key in "a\u0001b\u0001\u0001\u0001x\u0010\u0011y\n")
        {
            client.Type(key.ToString());
            await Task.Delay(20);
        }

        await client.SeeAsync("a^Ab^A^A^Ax^P^Qy");
        client.Type("z\u0001\u0001d");
        Assert.That(await client.EndAsync(0), Does.StartWith("detached"));
        Assert.That(client.Screen, Does.Not.Contain("^P^Qyz^A"));
        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Run_WithoutKeys_PassesThemOn()
    {
        using var client = new CliTerminal(
            Supervisor, "run", "-it", "--rm", "--detach-keys", "", "--rootfs", Rootfs, NewId(), "sh", "-c", "stty raw -echo; echo ready; head -c 3 | cat -v; exit 5");
        await client.SeeAsync("ready");
        client.Type($"{DetachKeys}.");
        await client.SeeAsync("^P^Q.");
        await client.EndAsync(5);
    }

    [Test]
    public async Task Exec_DetachKeys_LeaveItRunningAndAttachComesBack()
    {
        var id = await SleeperAsync();
        using (var exec = new CliTerminal(Supervisor, "exec", "-it", id, "sh"))
        {
            exec.Type("trap 'echo hung up >/tmp/hup' HUP; echo ready-$$\n");
            await exec.SeeAsync("ready-");
            exec.Type("stty size\n");
            await exec.SeeAsync("33 101");
            exec.Type(DetachKeys);
            Assert.That(await exec.EndAsync(0), Does.Match($@"^detached from process \d+ of {id}; `supervisor attach --pid \d+ {id}` comes back\n$"));
        }

        var pid = (await Supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { id } })).Containers[0].Processes.Single(process => !process.Init).Pid;
        using var back = new CliTerminal(Supervisor, "attach", "--pid", $"{pid}", id);
        await back.RawAsync();
        back.Type("echo still-$((40+2)); ls /tmp/hup\n");
        await back.SeeAsync("still-42");
        await back.SeeAsync("No such file");
        back.Type("exit 9\n");
        await back.EndAsync(9);
    }

    [Test]
    public async Task Exec_FirstByte_HasOurSize()
    {
        var id = await SleeperAsync();
        using var exec = new CliTerminal(Supervisor, "exec", "-it", id, "stty", "size");
        await exec.SeeAsync("33 101");
        await exec.EndAsync(0);
    }

    [Test]
    public async Task Exec_ClientIsKilled_TheProcessIsHungUp()
    {
        var id = await SleeperAsync();
        using (var exec = new CliTerminal(Supervisor, "exec", "-it", id, "sh", "-c", "echo ready; sleep 1000"))
        {
            await exec.SeeAsync("ready");
            exec.Signal(Signum.SIGKILL);
        }

        await HungUpAsync(id);
    }

    [TestCase(Signum.SIGHUP, 129)]
    [TestCase(Signum.SIGKILL, 137)]
    public async Task Run_ClientGoesWithoutAWord_TheContainerGoesOn(object signal, int exitCode)
    {
        var id = NewId();
        using (var client = new CliTerminal(Supervisor, "run", "-it", "--rootfs", Rootfs, id, "sh", "-c", "echo ready; while :; do echo tick; sleep 0.05; done"))
        {
            await client.SeeAsync("ready");
            client.Signal((Signum)signal);
            if ((Signum)signal == Signum.SIGHUP)
            {
                await client.EndAsync(exitCode);
            }
        }

        using var back = new CliTerminal(Supervisor, "attach", id);
        await back.SeeAsync("tick");
        await back.SeeAsync("tick");
        back.Type(DetachKeys);
        await back.EndAsync(0);
        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Run_WindowIsClosed_TheContainerGoesOn()
    {
        // A shell that would end with the end of its input.
        var id = NewId();
        using (var client = new CliTerminal(Supervisor, "run", "-it", "--rootfs", Rootfs, id, "sh"))
        {
            client.Type("echo here-$((1+1))\n");
            await client.SeeAsync("here-2");
            await client.CloseAsync(129);
        }

        using var back = new CliTerminal(Supervisor, "attach", id);
        await back.RawAsync();
        back.Type("echo there-$((1+1))\n");
        await back.SeeAsync("there-2");
        back.Type("exit 6\n");
        await back.EndAsync(6);
    }

    [Test]
    public async Task Exec_WindowIsClosed_TheProcessIsHungUp()
    {
        var id = await SleeperAsync();
        using (var client = new CliTerminal(Supervisor, "exec", "-it", id, "sh", "-c", "echo ready; sleep 1000"))
        {
            await client.SeeAsync("ready");
            await client.CloseAsync(129);
        }

        await HungUpAsync(id);
    }

    [TestCase(Signum.SIGTERM, 143)]
    [TestCase(Signum.SIGHUP, 129)]
    [TestCase(Signum.SIGINT, 130)]
    public async Task Attach_SignalOnATerminal_LeavesTheContainerAlone(object signal, int exitCode)
    {
        var id = await ShellAsync();
        using var client = new CliTerminal(Supervisor, "attach", id);
        await client.RawAsync();
        client.Type("echo here-$((1+1))\n");
        await client.SeeAsync("here-2");
        client.Signal((Signum)signal);
        Assert.That(await client.EndAsync(exitCode), Is.Empty);
        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Attach_SupervisorIsAway_TheTerminalIsGivenBack()
    {
        var id = await ShellAsync();
        using var client = new CliTerminal(Supervisor, "attach", id);
        await client.RawAsync();
        await Supervisor.KillHardAsync();

        // The container is there all the same.
        client.Type("echo here-$((1+1))\n");
        await client.SeeAsync("here-2");
        client.Type(DetachKeys);
        await Poll.Until(() => !client.IsRaw, s_deadline, "the terminal is given back");
        await Supervisor.StartAgainAsync();
        Assert.That(await client.EndAsync(0), Does.StartWith("detached"));
        Assert.That(await StatusAsync(id), Is.EqualTo(Status.Running));
    }

    [Test]
    public async Task Attach_Size_IsOursNowAndWhenItChanges()
    {
        var id = await ShellAsync();
        using var client = new CliTerminal(Supervisor, "attach", id);
        await client.RawAsync();
        await SizeAsync("33 101");
        client.Resize(120, 40);
        await SizeAsync("40 120");

        async Task SizeAsync(string size) => await Poll.Until(
            async () =>
            {
                client.Type("stty size\n");
                await Task.Delay(50);
                return client.Screen.Contains($"{size}\r\n", StringComparison.Ordinal);
            },
            s_deadline,
            size);
    }

    [Test]
    public async Task Attach_SeveralClients_AllSeeItAndASlowOneDelaysNobody()
    {
        var id = await ShellAsync();
        using var first = new CliTerminal(Supervisor, "attach", id);
        using var second = new CliTerminal(Supervisor, "attach", "--no-stdin", "--detach-keys", "q", id);
        using var slow = CliRun.Start(Supervisor, "attach", "--no-stdin", id);
        await first.RawAsync();
        await second.RawAsync();
        await Poll.Until(() => Directory.GetDirectories(Path.Combine(Supervisor.Root, "io")).Length == 3, s_deadline, "three clients");
        first.Type("echo go-$((1+1))\n");
        await first.SeeAsync("go-2");
        await second.SeeAsync("go-2");

        // More than fits into all buffers on the way to the one that does not read.
        first.Type("seq 1 1000000 | tail -c 4000000; echo end-$((1+1))\n");
        await first.SeeAsync("end-2");
        await second.SeeAsync("end-2");
        second.Type("xyq");
        Assert.That(await second.EndAsync(0), Does.StartWith("detached"));

        // He begins to read, and hears with the next output that he has missed something.
        var told = false;
        var reading = Task.Run(async () =>
        {
            while (await slow.StandardOutput.ReadLineAsync() is { } line)
            {
                told |= line.Contains("bytes were left out here", StringComparison.Ordinal);
            }
        });
        await Poll.Until(
            () =>
            {
                first.Type("\n");
                return Volatile.Read(ref told);
            },
            s_deadline,
            "the slow one is told");
        first.Type("exit 3\n");
        await first.EndAsync(3);
        await reading.WithinAsync(s_deadline, "the end of the slow one's output");
        await slow.WaitForExitAsync().WithinAsync(s_deadline, "the end of the slow one");
        Assert.That(slow.ExitCode, Is.EqualTo(3), "the slow one");
    }

    [Test]
    public async Task Attach_Log_OutputInputSignalsAndExitCode()
    {
        var id = NewId();
        (await Client("run", "-d", "-i", "--rootfs", Rootfs, id, "sh", "-c", "trap 'echo got; exit 33' TERM; while read line; do echo out $line; echo err $line >&2; done; echo eof; while :; do sleep 0.05; done")).OutputOf();
        using var client = CliRun.Start(Supervisor, "attach", id);
        await Poll.Until(() => Directory.Exists(Path.Combine(Supervisor.Root, "io")) && Directory.GetDirectories(Path.Combine(Supervisor.Root, "io")).Length == 1, s_deadline, "the client's FIFOs");

        // Attached when its words come back.
        string? answer = null;
        for (var attempt = 0; answer is null; attempt++)
        {
            await client.StandardInput.WriteLineAsync($"{attempt}");
            await client.StandardInput.FlushAsync();
            answer = await client.StandardOutput.ReadLineAsync().WithinAsync(s_deadline, "an answer");
        }

        Assert.That(answer, Does.StartWith("out "));
        client.StandardInput.Close();
        Assert.That(await client.StandardOutput.ReadLineAsync().WithinAsync(s_deadline, "the end of stdin"), Is.EqualTo("eof"));
        _ = Syscall.kill(client.Id, Signum.SIGTERM);

        var end = await CliRun.EndAsync(client, "");
        Assert.That(end.OutputOf(33), Is.EqualTo("got\n"));
        Assert.That(end.Error, Does.StartWith("err "));
        Assert.That((await Client("logs", id)).OutputOf(), Does.EndWith("eof\ngot\n"), "the log has it, too");
    }

    [Test]
    public async Task Attach_WhereItCannotWork_SaysWhatDoes()
    {
        var (file, gone) = (NewId(), NewId());
        var log = Path.Combine(Supervisor.NewDirectory(), "out");
        (await Client("run", "-d", "--log", $"file://{log}", "--rootfs", Rootfs, file, "sleep", "1000")).OutputOf();
        (await Client("run", "-d", "--rootfs", Rootfs, gone, "true")).OutputOf();
        (await Client("wait", gone)).OutputOf();

        var direct = await Client("attach", file);
        Assert.That(direct.ErrorOf(125), Does.StartWith("supervisor: attach: ").And.Contain($"hint: `supervisor logs -f {file}` shows its output\n"));
        Assert.That((await Client("attach", gone)).ErrorOf(125), Does.Contain($"supervisor logs -f {gone}"));
        Assert.That((await Client("attach", "--pid", "1", file)).ErrorOf(125), Does.Contain("has no process 1").And.Contain($"supervisor ps {file}"));
        Assert.That((await Client("attach", "nosuch")).ErrorOf(125), Does.Contain("nosuch"));
        Assert.That(Directory.GetDirectories(Path.Combine(Supervisor.Root, "io")), Is.Empty);
    }

    private static string NewId() => TestRun.NewName("att");

    private Task<CliRun> Client(params string[] arguments) => CliRun.RunAsync(Supervisor, "", arguments);

    private async Task<Status> StatusAsync(string id) => (await Supervisor.Containers.GetContainerAsync(new GetContainerRequest { Id = id })).Container.Status;

    private async Task<string> SleeperAsync()
    {
        var id = NewId();
        (await Client("run", "-d", "--rootfs", Rootfs, id, "sleep", "1000")).OutputOf();
        return id;
    }

    private Task HungUpAsync(string id) =>
        Poll.Until(
            async () =>
            {
                var inspected = await Supervisor.Control.InspectAsync(new InspectRequest { ContainerIds = { id } });
                return inspected.Containers[0].Processes.Where(process => !process.Init).All(process => process.Exit is { Signal: 1 });
            },
            TimeSpan.FromSeconds(5),
            "the exec's end by SIGHUP");

    /// <summary>A detached container with a shell on a terminal.</summary>
    private async Task<string> ShellAsync()
    {
        var id = NewId();
        (await Client("run", "-d", "-i", "-t", "--rootfs", Rootfs, id, "sh")).OutputOf();
        return id;
    }
}
