using System.Globalization;
using System.Security.Cryptography;
using Containerd.Shim.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using WaitRequest = Containerd.Shim.V1.WaitRequest;

namespace Shim.Tests.EndToEnd;

/// <summary>Output to programs: containerd's logger protocol, with loggers that behave and loggers that do not.</summary>
public sealed class LoggerTests
{
    // Two readers in the background, one for each stream; the last argument names the directory.
    private const string Copying = """
        #!/bin/sh
        dir=$2
        echo "$CONTAINER_NAMESPACE/$CONTAINER_ID" >$dir/who
        echo $$ >$dir/pid
        cat <&3 >>$dir/out 5>&- &
        cat <&4 >>$dir/err 5>&- &
        exec 3<&- 4<&- 5>&-
        wait
        """;

    [Test]
    public async Task BothStreams_ArriveComplete_AndTheLoggerIsToldWhoItServes()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.RunAsync("printf 'a\\nno-newline'; printf 'oops' >&2");
        Assert.That(test.Read("out"), Is.EqualTo("a\nno-newline"));
        Assert.That(test.Read("err"), Is.EqualTo("oops"));
        Assert.That(test.Read("who"), Is.EqualTo("default/logged\n"));
    }

    [Test]
    public async Task Terminal_TheLoggerGetsItsOutput()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.RunAsync("tty >/dev/null && echo yes", terminal: true);
        Assert.That(test.Read("out"), Is.EqualTo("yes\r\n"));
        Assert.That(test.Read("err"), Is.Empty);
    }

    [Test]
    public async Task OneStreamOnly_TheOtherHasItsEnd()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.CreateAsync("echo out; echo err >&2", stderr: "");
        await test.FinishAsync();
        Assert.That((test.Read("out"), test.Read("err")), Is.EqualTo(("out\n", "")));
    }

    [Test]
    public async Task Exec_HasALoggerOfItsOwn()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.CreateAsync("sleep 1000000", stdout: "", stderr: "");
        await test.Shim.Client.StartAsync(new StartRequest());
        var exec = await test.Shim.Client.ExecAsync(new ExecRequest { Args = { "echo", "from exec" }, Stdout = test.Address });
        await test.Shim.Client.WaitAsync(new WaitRequest { Pid = exec.Pid });
        await test.Shim.Client.DeleteAsync(new DeleteRequest { Pid = exec.Pid });
        Assert.That(test.Read("out"), Is.EqualTo("from exec\n"));
    }

    [Test]
    public async Task LoggerIsKilled_ItIsStartedAgain_AndTheContainerLosesNothing()
    {
        // Only stdout, read byte by byte in the shell itself: what the killed one has not read is its successor's.
        await using var test = await LoggerTest.StartAsync("""
            #!/bin/sh
            echo $$ >>$2/pids
            exec 5>&-
            while read line <&3; do echo "$line" >>$2/out; done
            """);
        await test.CreateAsync("for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.1; done; echo last; exit 3", stderr: "");
        await test.Shim.Client.StartAsync(new StartRequest());
        await Poll.Until(() => test.Read("out").Contains("line 3", StringComparison.Ordinal), Poll.Deadline, "the third line");
        test.KillLogger(9);
        var ended = await test.Shim.Client.WaitAsync(new WaitRequest());
        Assert.That(ended.Exit.Status, Is.EqualTo(3u));
        await test.Shim.Client.DeleteAsync(new DeleteRequest());
        Assert.That(test.Pids, Has.Length.EqualTo(2));

        // A line may have been between the read and the write of the one who was killed.
        var lines = test.Read("out").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines, Has.Length.InRange(10, 11));
        Assert.That(lines[^1], Is.EqualTo("last"));
    }

    [Test]
    public async Task LoggerStandsStill_TheContainerDoesNot()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.CreateAsync("head -c 20000000 /dev/zero; echo done >&2; exit 5");
        test.KillLogger(19, "pid", group: true);
        try
        {
            await test.Shim.Client.StartAsync(new StartRequest());
            Assert.That((await test.Shim.Client.WaitAsync(new WaitRequest())).Exit.Status, Is.EqualTo(5u), "20 MB written to a logger that does not read");
        }
        finally
        {
            test.KillLogger(18, "pid", group: true);
        }
    }

    [Test]
    public async Task LoggerThatNeverEnds_DelaysADeletionByTheDrainTimeoutOnly()
    {
        await using var test = await LoggerTest.StartAsync("#!/bin/sh\necho $$ >$2/pids\nexec 5>&-\nexec sleep 1000000", "--drain-timeout", "0.5");
        await test.RunAsync("echo hello");
        var pid = int.Parse(test.Read("pids"), CultureInfo.InvariantCulture);
        await Poll.Until(() => !Directory.Exists($"/proc/{pid}"), Poll.Deadline, "the end of the logger");
    }

    [Test]
    public async Task MuchOutput_ArrivesByteForByte()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await test.RunAsync("seq 1 2000000");
        var expected = string.Concat(Enumerable.Range(1, 2_000_000).Select(n => $"{n}\n"));
        Assert.That(SHA256.HashData(File.ReadAllBytes(test.PathOf("out"))), Is.EqualTo(SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(expected))));
    }

    [Test]
    public async Task LoggerThatEndsAtOnce_OrIsNotReady_IsRefused_AndNothingIsLeft()
    {
        await using var test = await LoggerTest.StartAsync("#!/bin/sh\nexit 4");
        var refusal = await Refusal.ExpectAsync(test.Shim.Client.CreateAsync(test.Request("true")), StatusCode.InvalidArgument, ["status 4"]);
        Assert.That(refusal, Does.Contain("before it was ready"));
        Assert.That((await test.Shim.Client.StateAsync(new StateRequest())).Exists, Is.False);
    }

    [Test]
    public async Task Programs_ThatAreNotRootsOwn_AreNotRun()
    {
        await using var test = await LoggerTest.StartAsync(Copying);
        await ExpectAsync("binary:///bin/../bin/cat", "..");
        await ExpectAsync($"binary://{test.Program}-missing", "no such file");
        await ExpectAsync("binary:///bin/cat", "outside of the directories");
        var theirs = test.Install("theirs", Copying);
        _ = Mono.Unix.Native.Syscall.chown(theirs, 1000, 1000);
        await ExpectAsync($"binary://{theirs}", "belong to root");
        var writable = test.Install("writable", Copying);
        File.SetUnixFileMode(writable, File.GetUnixFileMode(writable) | UnixFileMode.OtherWrite);
        await ExpectAsync($"binary://{writable}", "write to it");
        var plain = test.Install("plain", Copying);
        File.SetUnixFileMode(plain, UnixFileMode.UserRead);
        await ExpectAsync($"binary://{plain}", "not an executable");
        File.CreateSymbolicLink(Path.Combine(test.Programs, "link"), "/bin/cat");
        await ExpectAsync($"binary://{test.Programs}/link", "leads out of");

        async Task ExpectAsync(string address, string reason) => await Refusal.ExpectAsync(
            test.Shim.Client.CreateAsync(new CreateRequest { Id = "no", Bundle = test.Shim.NewBundle().Write().Path, Stdout = address }),
            StatusCode.InvalidArgument,
            [reason]);
    }

    /// <summary>A shim that allows one directory of loggers, with one logger in it that writes into a directory of its own.</summary>
    private sealed class LoggerTest : IAsyncDisposable
    {
        private readonly string _results;

        private LoggerTest(ShimFixture shim, string programs)
        {
            (Shim, Programs) = (shim, programs);
            _results = Directory.CreateDirectory(shim.PathOf("results")).FullName;
        }

        internal ShimFixture Shim { get; }

        internal string Programs { get; }

        internal string Program => Path.Combine(Programs, "logger");

        internal string Address => $"binary://{Program}?into={Uri.EscapeDataString(_results)}";

        internal int[] Pids => [.. Read("pids").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture))];

        public async ValueTask DisposeAsync()
        {
            await Shim.DisposeAsync();
            Directory.Delete(Programs, recursive: true);
        }

        internal static async Task<LoggerTest> StartAsync(string script, params string[] arguments)
        {
            var programs = TestRun.NewDirectory("loggers");
            var test = new LoggerTest(await ShimFixture.StartAsync(null, ["--logger-dir", programs, .. arguments]), programs);
            test.Install("logger", script);
            return test;
        }

        internal string Install(string name, string script)
        {
            var path = Path.Combine(Programs, name);
            File.WriteAllText(path, script + "\n");
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            return path;
        }

        internal string PathOf(string name) => Path.Combine(_results, name);

        internal string Read(string name) => File.Exists(PathOf(name)) ? File.ReadAllText(PathOf(name)) : "";

        internal CreateRequest Request(string script, bool terminal = false, string? stdout = null, string? stderr = null) => new()
        {
            Id = "logged", Bundle = Shim.NewBundle().Terminal(terminal).Script(script).Write().Path, Terminal = terminal, Stdout = stdout ?? Address, Stderr = stderr ?? Address,
        };

        internal async Task CreateAsync(string script, string? stdout = null, string? stderr = null) =>
            await Shim.Client.CreateAsync(Request(script, terminal: false, stdout, stderr));

        internal async Task RunAsync(string script, bool terminal = false)
        {
            await Shim.Client.CreateAsync(Request(script, terminal));
            await FinishAsync();
        }

        internal async Task FinishAsync()
        {
            await Shim.Client.StartAsync(new StartRequest());
            await Shim.Client.WaitAsync(new WaitRequest());
            await Shim.Client.DeleteAsync(new DeleteRequest());
        }

        internal void KillLogger(int signal, string file = "pids", bool group = false)
        {
            var pid = int.Parse(Read(file).Split('\n')[0], CultureInfo.InvariantCulture);
            Assert.That(Mono.Unix.Native.Syscall.kill(group ? -pid : pid, (Mono.Unix.Native.Signum)signal), Is.Zero);
        }
    }
}
