using System.Diagnostics;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.FakeRunc;

/// <summary>The faults are really there: a fault that does nothing would make the tests that rely on it worthless.</summary>
public sealed class FakeRuntimeTests
{
    private FakeRuntime _runtime = null!;
    private string _directory = null!;
    private string _cgroupPrefix = null!;

    [SetUp]
    public void Prepare()
    {
        _runtime = new FakeRuntime();
        _directory = TestRun.NewDirectory("fake");
        _cgroupPrefix = $"{TestRun.CgroupPrefix}-{Path.GetFileName(_directory)}";
    }

    [TearDown]
    public void Remove()
    {
        Leaks.Sweep(_directory, _cgroupPrefix);
        Directory.Delete(_directory, recursive: true);
        _runtime.Dispose();
    }

    [Test]
    public void Run_NoFaults_IsTheRealRuntime()
    {
        var (status, output) = Run(1, script: "echo from inside; id -u; cat /proc/self/cgroup; exit 7");
        Assert.That(output, Does.Contain("from inside\n0\n").And.Contain($"/{_cgroupPrefix}-"));
        Assert.That(status, Is.EqualTo(7));
        Assert.That(_runtime.CountOf("run"), Is.EqualTo(1));
        Assert.That(Leaks.Find(_directory, _cgroupPrefix), Is.Empty);
    }

    [Test]
    public void Run_Slow_WaitsFirst()
    {
        _runtime.Set("slow:run:1");
        var clock = Stopwatch.StartNew();
        Assert.That(Run(1, "true").Status, Is.Zero);
        Assert.That(clock.Elapsed, Is.GreaterThan(TimeSpan.FromSeconds(0.9)));
    }

    [Test]
    public void Run_Fail_GivesStatusAndMessage()
    {
        _runtime.Set("fail:delete:1", "fail:run:3");
        var (status, output) = Run(1, "echo never");
        Assert.That(status, Is.EqualTo(3));
        Assert.That(output, Does.Contain("told to fail run").And.Not.Contain("never"));
        Assert.That(File.ReadAllText(Path.Combine(_directory, "log")), Does.Contain("\"msg\":\"fake runc: told to fail run\""));
    }

    [Test]
    public void Run_Spew_WritesThatMuch()
    {
        _runtime.Set("spew:100000");
        var (status, output) = Run(1, "true");
        Assert.That(status, Is.Zero);
        Assert.That(output.Count(c => c == 'x'), Is.EqualTo(100_000));
    }

    [Test]
    public void Run_Dumps_AreWritten()
    {
        _runtime.Set("dumpfds", "dumpenv");
        Run(1, "true");
        Assert.That(_runtime.Dumps("run", "fds").Single(), Does.Contain(" 1 -> "));
        Assert.That(_runtime.Dumps("run", "env").Single(), Does.Contain("PATH="));
    }

    [Test]
    public void Create_InitDies_InitIsGoneWhenCreateReturns()
    {
        _runtime.Set("init-dies-in-create");
        var bundle = new BundleBuilder(_directory, _cgroupPrefix).Write();
        var pidFile = Path.Combine(_directory, "pid");
        // Files, not pipes: the container's init would hold them open.
        var (status, output) = Call("create", "--pid-file", pidFile, "--bundle", bundle.Path, "c1");
        Assert.That(status, Is.Zero, output);
        var pid = int.Parse(File.ReadAllText(pidFile));
        Assert.That(() => HostProcess.Runs(pid), Is.False.After(1000, 10));
        Assert.That(Call("delete", "--force", "c1").Status, Is.Zero);
    }

    [Test]
    public void Hang_NeverEnds()
    {
        _runtime.Set("hang:list");
        using var process = Start("list");
        Assert.That(process.WaitForExit(500), Is.False);
        process.Kill();
        Assert.That(process.WaitForExit(5000), Is.True);
    }

    private (int Status, string Output) Run(int number, string script)
    {
        var bundle = new BundleBuilder(_directory, _cgroupPrefix).Script(script).Write();
        return Call("run", "--bundle", bundle.Path, $"c{number}");
    }

    private (int Status, string Output) Call(params string[] arguments)
    {
        using var process = Start(arguments);
        Assert.That(process.WaitForExit(20_000), Is.True, string.Join(' ', arguments));
        return (process.ExitCode, File.ReadAllText(Path.Combine(_directory, "output")));
    }

    private Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("/bin/sh")
        {
            ArgumentList =
            {
                "-c", "exec \"$0\" \"$@\" </dev/null >\"$TEST_OUTPUT\" 2>&1", _runtime.Path,
                "--root", Path.Combine(_directory, "runc"), "--log", Path.Combine(_directory, "log"), "--log-format", "json",
            },
        };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["TEST_OUTPUT"] = Path.Combine(_directory, "output");
        return Process.Start(start)!;
    }
}
