using System.Globalization;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Tests.Processes;

public sealed class PidFdTests
{
    [Test]
    public void Signal_Running_TrueAndItEnds()
    {
        var pid = Sleep();
        using var process = PidFd.TryOpen(pid)!;
        Assert.That((process.Pid, process.HasExited), Is.EqualTo((pid, false)));
        Assert.That(process.Signal(Libc.SIGTERM), Is.True);
        Assert.That(process.WaitForExit(10_000), Is.True);
        Assert.That(process.HasExited, Is.True);
        Assert.That(ChildProgram.Collect(pid).Signal, Is.EqualTo(Libc.SIGTERM));
    }

    [Test]
    public void Signal_AfterItWasCollected_False()
    {
        var pid = Sleep();
        using var process = PidFd.TryOpen(pid)!;
        process.Signal(Libc.SIGKILL);
        ChildProgram.Collect(pid);
        Assert.That(process.Signal(Libc.SIGTERM), Is.False);
        Assert.That(process.HasExited, Is.True);
    }

    [Test]
    public void Signal_PidGivenToAnotherProcess_OtherUntouched()
    {
        Support.Machine.Require(Environment.IsPrivilegedProcess, "choosing the next pid needs root");
        var pid = Sleep();
        using var old = PidFd.TryOpen(pid)!;
        old.Signal(Libc.SIGKILL);
        ChildProgram.Collect(pid);
        var other = SleepUnder(pid);
        Support.Machine.Require(other == pid, "the kernel did not give the pid again (the machine is busy)");
        try
        {
            Assert.That(old.Signal(Libc.SIGKILL), Is.False);
            using var process = PidFd.TryOpen(other)!;
            Assert.That(process.WaitForExit(100), Is.False, "the other one lives");
        }
        finally
        {
            _ = Libc.Kill(other, Libc.SIGKILL);
            ChildProgram.Collect(other);
        }
    }

    [Test]
    public void WaitForExit_StillRunning_FalseAfterTheTime()
    {
        var pid = Sleep();
        using var process = PidFd.TryOpen(pid)!;
        var began = Environment.TickCount64;
        Assert.That(process.WaitForExit(200), Is.False);
        Assert.That(Environment.TickCount64 - began, Is.InRange(190, 5000));
        process.Signal(Libc.SIGKILL);
        ChildProgram.Collect(pid);
    }

    [TestCase(0)]
    [TestCase(-1)]
    [TestCase(int.MinValue)]
    [TestCase(int.MaxValue)]
    [TestCase(4194305)]
    public void TryOpen_NoSuchProcess_Null(int pid) => Assert.That(PidFd.TryOpen(pid), Is.Null);

    [Test]
    public void TryOpen_ThreadThatIsNoProcess_Null()
    {
        // A number that a caller can name, that exists, and that is no process. Kernels differ in the error.
        var thread = 0;
        using var ready = new ManualResetEventSlim();
        using var end = new ManualResetEventSlim();
        var running = new Thread(() =>
        {
            thread = int.Parse(Path.GetFileName(new FileInfo("/proc/thread-self").LinkTarget!), CultureInfo.InvariantCulture);
            ready.Set();
            end.Wait(TimeSpan.FromSeconds(20));
        });
        running.Start();
        try
        {
            Assert.That(ready.Wait(TimeSpan.FromSeconds(20)), Is.True);
            Assert.That(thread, Is.Not.EqualTo(Environment.ProcessId).And.Positive);
            Assert.That(PidFd.TryOpen(thread), Is.Null);
        }
        finally
        {
            end.Set();
            running.Join();
        }
    }

    [Test]
    public void TryOpen_Zombie_CanBeOpenedAndHasExited()
    {
        var pid = Sleep();
        _ = Libc.Kill(pid, Libc.SIGKILL);
        using var process = PidFd.TryOpen(pid)!;
        Assert.That(process.WaitForExit(10_000), Is.True);
        Assert.That(ProcFs.State(pid), Is.EqualTo('Z'));
        using var zombie = PidFd.TryOpen(pid);
        Assert.That(zombie?.HasExited, Is.True);
        ChildProgram.Collect(pid);
    }

    private static int Sleep() => Spawner.Spawn(ChildProgram.Request("/bin/sleep", ["sleep", "300"]));

    // The kernel gives numbers in turn, and root may turn the wheel. Somebody else may be faster, hence the attempts.
    private static int SleepUnder(int wanted)
    {
        for (var attempt = 0; ; attempt++)
        {
            File.WriteAllText("/proc/sys/kernel/ns_last_pid", $"{wanted - 1}");
            var pid = Sleep();
            if (pid == wanted || attempt == 500)
            {
                return pid;
            }

            _ = Libc.Kill(pid, Libc.SIGKILL);
            ChildProgram.Collect(pid);
        }
    }
}
