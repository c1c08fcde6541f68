using Containerd.Shim.V1;
using Grpc.Core;
using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.FakeRunc;
using Shim.Tests.Support;

namespace Shim.Tests.Transport;

/// <summary>How a shim begins and how it ends.</summary>
public sealed class ShimLifeTests
{
    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("life");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [TestCase("", 125, "usage: shim serve")]
    [TestCase("nope", 125, "there is no command \"nope\"")]
    [TestCase("serve --nope", 125, "serve knows no option --nope")]
    [TestCase("serve --listen-fd 77", 125, "--listen-fd 77: there is no such descriptor")]
    [TestCase("serve --socket /nonexistent/dir/shim.sock", 125, "shim: ")]
    [TestCase("serve --state /proc/nonexistent", 125, "shim: ")]
    public async Task Start_CannotServe_125AndSaysWhy(string arguments, int code, string message)
    {
        await using var shim = ShimProcess.Start(_directory, arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        var end = await shim.EndAsync();
        Assert.That((end.Code, end.Output), Is.EqualTo((code, "")));
        Assert.That(end.Errors, Does.Contain(message));
    }

    [TestCase("--help", "usage: shim serve")]
    [TestCase("serve --help", "usage: shim serve")]
    [TestCase("--version", "shim ")]
    public async Task Start_Question_AnsweredOnStdout(string arguments, string message)
    {
        await using var shim = ShimProcess.Start(_directory, arguments.Split(' '));
        var end = await shim.EndAsync();
        Assert.That((end.Code, end.Errors), Is.EqualTo((0, "")));
        Assert.That(end.Output, Does.Contain(message));
    }

    [Test]
    public async Task Start_SocketPathTooLong_125AndSaysWhy()
    {
        await using var shim = ShimProcess.Start(_directory, "serve", "--socket", $"/tmp/{new string('x', 120)}");
        var end = await shim.EndAsync();
        Assert.That(end.Code, Is.EqualTo(125));
        Assert.That(end.Errors, Does.Contain("longer than 107 bytes"));
    }

    [Test]
    public async Task Start_ForeignJournal_125AndLeavesItAlone()
    {
        await File.WriteAllTextAsync(Path.Combine(_directory, "journal"), "something else\n");
        await using var shim = ShimProcess.Start(_directory, "serve");
        var end = await shim.EndAsync();
        Assert.That(end.Code, Is.EqualTo(125), end.Errors);
        Assert.That(end.Errors, Does.Contain("no line that is a journal's"));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(_directory, "journal")), Is.EqualTo("something else\n"));
    }

    [Test]
    public async Task Start_StaleSocketFile_Replaced()
    {
        await using (var first = ShimProcess.Start(_directory, "serve"))
        {
            await first.AnswersAsync();
            first.Signal(Signum.SIGKILL);
            Assert.That((await first.EndAsync()).Code, Is.EqualTo(137));
        }

        Assert.That(File.Exists(Path.Combine(_directory, "shim.sock")), Is.True, "what this is about");
        await using var second = ShimProcess.Start(_directory, "serve");
        await second.AnswersAsync();
    }

    [Test]
    public async Task Start_SocketOfALivingShim_125AndTheOtherServesOn()
    {
        await using var first = ShimProcess.Start(_directory, "serve");
        await first.AnswersAsync();
        await using var second = ShimProcess.Start(_directory, "serve");
        var end = await second.EndAsync();
        Assert.That(end.Code, Is.EqualTo(125));
        Assert.That(end.Errors, Does.Contain("another process listens on").And.Contain(first.Socket));
        await first.AnswersAsync();
    }

    [Test]
    public async Task Start_StateDirectoryOfALivingShim_125AndNoSocketIsLeft()
    {
        await using var first = ShimProcess.Start(_directory, "serve");
        await first.AnswersAsync();
        var socket = Path.Combine(_directory, "other.sock");
        await using var second = ShimProcess.Start(_directory, "serve", "--socket", socket);
        var end = await second.EndAsync();
        Assert.That(end.Code, Is.EqualTo(125));
        Assert.That(end.Errors, Does.Contain("another shim uses the state directory"));
        Assert.That(File.Exists(socket), Is.False);
        await first.AnswersAsync();
    }

    [Test]
    public async Task Start_FileInTheSocketsPlace_125AndTheFileStays()
    {
        await File.WriteAllTextAsync(Path.Combine(_directory, "shim.sock"), "precious");
        await using var shim = ShimProcess.Start(_directory, "serve");
        Assert.That((await shim.EndAsync()).Code, Is.EqualTo(125));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(_directory, "shim.sock")), Is.EqualTo("precious"));
    }

    [TestCase("000")]
    [TestCase("077")]
    [TestCase("777")]
    public async Task Start_AnyUmask_FilesAreTheOwnersAlone(string umask)
    {
        await using var shim = ShimProcess.StartUnder(["/bin/sh", "-c", $"umask {umask}; exec \"$@\"", "sh"], _directory, "serve", "--state", "state");
        await shim.AnswersAsync();
        Assert.That(Mode("shim.sock"), Is.EqualTo("600"));
        Assert.That(Mode("state"), Is.EqualTo("700"));
        Assert.That(Mode("state/journal"), Is.EqualTo("600"));

        string Mode(string name) => Convert.ToString((int)File.GetUnixFileMode(Path.Combine(_directory, name)), 8);
    }

    [Test]
    public async Task Start_ParentIgnoresSigChld_StatusesAreRightAllTheSame()
    {
        await using var shim = ShimProcess.StartUnder(["env", "--ignore-signal=CHLD"], _directory, "serve", "--runtime-root", Path.Combine(_directory, "runc"));
        await shim.AnswersAsync();
        var cgroups = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
        try
        {
            var bundle = new BundleBuilder(_directory, cgroups).Script("exit 42").Write();
            await shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path }, deadline: Soon);
            await shim.Client.StartAsync(new StartRequest(), deadline: Soon);
            Assert.That((await shim.Client.WaitAsync(new WaitRequest(), deadline: Soon)).Exit.Status, Is.EqualTo(42));
            await shim.Client.DeleteAsync(new DeleteRequest(), deadline: Soon);
        }
        finally
        {
            Leaks.Sweep(Path.Combine(_directory, "runc"), cgroups, shim.Id);
        }
    }

    [Test]
    public async Task Shutdown_NoContainer_EndsWithZeroAndRemovesTheSocket()
    {
        await using var shim = ShimProcess.Start(_directory, "serve");
        await shim.AnswersAsync();
        using var follow = shim.Client.Events(new EventsRequest());
        await shim.Client.ShutdownAsync(new ShutdownRequest(), deadline: Soon);
        var end = await shim.EndAsync();
        Assert.That(end.Code, Is.Zero, end.Errors);
        Assert.That(File.Exists(shim.Socket), Is.False);
    }

    [Test]
    public async Task Shutdown_WithContainer_RefusedUntilItIsDeleted()
    {
        await using var shim = await ShimFixture.StartAsync();
        await RunAsync(shim, shim.NewBundle());
        await Refusal.ExpectAsync(shim.Client.ShutdownAsync(new ShutdownRequest()), StatusCode.FailedPrecondition, ["c1"]);
        await shim.Client.KillAsync(new KillRequest { Signal = 9 });
        await shim.Client.WaitAsync(new WaitRequest());
        await Refusal.ExpectAsync(shim.Client.ShutdownAsync(new ShutdownRequest()), StatusCode.FailedPrecondition, ["c1"]);
        await shim.Client.DeleteAsync(new DeleteRequest());
        await shim.Client.ShutdownAsync(new ShutdownRequest());
        await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");
    }

    [Test]
    public async Task Shutdown_CreateComesAtTheSameTime_OnlyOneOfThemSucceeds()
    {
        // A container that is made while its shim ends would have no parent. Slow, so that the end would come in the middle.
        using var runtime = new FakeRuntime();
        runtime.Set("slow:create:2");
        for (var round = 0; round < 3; round++)
        {
            await using var shim = await ShimFixture.StartAsync(runtime.Path);
            var bundle = shim.NewBundle().Write();
            using var shutdown = shim.Client.ShutdownAsync(new ShutdownRequest());
            using var create = shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path });
            var outcomes = await Task.WhenAll(Refusal.OutcomeAsync(shutdown), Refusal.OutcomeAsync(create)).WithinAsync(Poll.Deadline, "both answers");
            Assert.That(outcomes.Count(outcome => outcome.StatusCode == StatusCode.OK), Is.EqualTo(1), $"shutdown: {outcomes[0]}, create: {outcomes[1]}");
            if (outcomes[0].StatusCode == StatusCode.OK)
            {
                await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");
                Assert.That(runtime.CountOf("create"), Is.Zero, "the runtime was not even started");
            }

            runtime.ForgetCalls();
        }
    }

    [TestCase(Signum.SIGTERM)]
    [TestCase(Signum.SIGINT)]
    public async Task Signal_NoContainer_EndsAtOnceWithZero(Signum signal)
    {
        await using var shim = ShimProcess.Start(_directory, "serve");
        await shim.AnswersAsync();
        var began = Environment.TickCount64;
        shim.Signal(signal);
        Assert.That((await shim.EndAsync()).Code, Is.Zero);
        Assert.That(Environment.TickCount64 - began, Is.LessThan(3000));
        Assert.That(File.Exists(shim.Socket), Is.False);
    }

    [TestCase(Signum.SIGHUP)]
    [TestCase(Signum.SIGPIPE)]
    [TestCase(Signum.SIGCHLD)]
    [TestCase(Signum.SIGURG)]
    public async Task Signal_StrayAndHarmless_ServesOn(Signum signal)
    {
        await using var shim = ShimProcess.Start(_directory, "serve");
        await shim.AnswersAsync();
        shim.Signal(signal);
        await Task.Delay(100);
        await shim.AnswersAsync();
    }

    [Test]
    public async Task SigTerm_ContainerThatListens_GetsItAndItsTime()
    {
        await using var shim = await ShimFixture.StartAsync();
        var heard = Path.Combine(_directory, "heard");
        await RunAsync(shim, shim.NewBundle().Bind(_directory).Script("trap 'sleep 1; echo yes >/host/heard; exit 7' TERM; : >/host/ready; while :; do usleep 20000; done"));
        await Poll.Until(() => File.Exists(Path.Combine(_directory, "ready")), Poll.Deadline, "the trap is set");
        var wait = shim.Client.WaitAsync(new WaitRequest()).ResponseAsync;
        _ = Syscall.kill(shim.ProcessId, Signum.SIGTERM);
        Assert.That((await wait.WithinAsync(Poll.Deadline, "the exit")).Exit.Status, Is.EqualTo(7));
        await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");
        Assert.That(await File.ReadAllTextAsync(heard), Is.EqualTo("yes\n"));
        Assert.That(Journal(shim), Does.Contain("\"type\":\"Exit\"").And.Contain("\"status\":7").And.Contain("\"type\":\"Delete\""));
        Assert.That(File.Exists(shim.Socket), Is.False);
    }

    [Test]
    public async Task SigTerm_ContainerThatDoesNotListen_KilledAndRemoved()
    {
        // The init of a pid namespace without a handler does not even get it.
        await using var shim = await ShimFixture.StartAsync();
        await RunAsync(shim, shim.NewBundle());
        await shim.Client.ExecAsync(new ExecRequest { Args = { "sleep", "1000" } });
        var began = Environment.TickCount64;
        _ = Syscall.kill(shim.ProcessId, Signum.SIGTERM);
        await Task.Delay(200);

        // Impatience changes nothing.
        _ = Syscall.kill(shim.ProcessId, Signum.SIGTERM);
        await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");
        Assert.That(Environment.TickCount64 - began, Is.InRange(2500, 15_000));
        Assert.That(Journal(shim), Does.Contain("\"status\":137").And.Contain("\"type\":\"Delete\""));
    }

    [Test]
    [Category("CgroupV2")]
    public async Task SigTerm_PausedContainer_KilledAndRemoved()
    {
        await using var shim = await ShimFixture.StartAsync();
        await RunAsync(shim, shim.NewBundle());
        await shim.Client.PauseAsync(new PauseRequest());
        _ = Syscall.kill(shim.ProcessId, Signum.SIGTERM);
        await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");
    }

    [Test]
    public async Task SigTerm_CreateIsUnderWay_NothingIsLeft()
    {
        using var runtime = new FakeRuntime();
        runtime.Set("slow:create:2");
        await using var shim = await ShimFixture.StartAsync(runtime.Path);
        var bundle = shim.NewBundle().Write();
        using var create = shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Path });
        await Poll.Until(() => runtime.CountOf("create") == 1, Poll.Deadline, "the runtime runs");
        _ = Syscall.kill(shim.ProcessId, Signum.SIGTERM);
        await Poll.Until(() => !shim.IsRunning, Poll.Deadline, "the shim's end");

        // Whatever the caller was told; the fixture finds what was left, once the runtime would have been done.
        _ = await Refusal.OutcomeAsync(create);
        await Task.Delay(3000);
    }

    private static DateTime Soon => DateTime.UtcNow.AddSeconds(30);

    private static async Task RunAsync(ShimFixture shim, BundleBuilder bundle)
    {
        await shim.Client.CreateAsync(new CreateRequest { Id = "c1", Bundle = bundle.Write().Path });
        await shim.Client.StartAsync(new StartRequest());
    }

    private static string Journal(ShimFixture shim) => File.ReadAllText(Path.Combine(shim.WorkingDirectory, "journal"));
}
