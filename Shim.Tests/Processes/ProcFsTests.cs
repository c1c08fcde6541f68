using System.Diagnostics;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

public sealed class ProcFsTests
{
    private const int FreePid = 4194304 + 1;

    private string _directory = null!;
    private int _pid;

    /// <summary>A process whose name tries to be mistaken for the fields after it.</summary>
    [SetUp]
    public async Task StartAProcessWithAWildName()
    {
        _directory = TestRun.NewDirectory("proc");
        var program = Path.Combine(_directory, "a) Z 1 (b 2 3");
        File.Copy("/bin/sleep", program);
        _pid = Spawner.Spawn(new SpawnRequest
        {
            Path = program,
            Arguments = ["sleep", "300"],
            Environment = ["A=1", "B=two words"],
            WorkingDirectory = _directory,
            Stdin = ChildProgram.Null,
            Stdout = ChildProgram.Null,
            Stderr = ChildProgram.Null,
        });
        await Poll.Until(() => ProcFs.State(_pid) == 'S', Poll.Deadline, "it sleeps");
    }

    [TearDown]
    public void EndIt()
    {
        if (_pid != 0)
        {
            _ = Libc.Kill(_pid, Libc.SIGKILL);
            ChildProgram.Collect(_pid);
        }

        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public void Read_NameWithParenthesesAndSpaces_FieldsAreRight()
    {
        Assert.That(File.ReadAllText($"/proc/{_pid}/comm"), Is.EqualTo("a) Z 1 (b 2 3\n"), "the name that this is about");
        Assert.That(ProcFs.Parent(_pid), Is.EqualTo(Environment.ProcessId));
        Assert.That(ProcFs.HasTerminal(_pid), Is.EqualTo(ProcFs.HasTerminal(Environment.ProcessId)));
        Assert.That(ProcFs.StartTime(_pid), Is.GreaterThan(ProcFs.StartTime(Environment.ProcessId)!.Value));
    }

    [Test]
    public void Read_ArgumentsEnvironmentDirectory_AsStarted()
    {
        Assert.That(ProcFs.Arguments(_pid), Is.EqualTo(new[] { "sleep", "300" }));
        Assert.That(ProcFs.Environment(_pid), Is.EqualTo(new[] { "A=1", "B=two words" }));
        Assert.That(ProcFs.WorkingDirectory(_pid), Is.EqualTo(_directory));
        Assert.That(ProcFs.Namespace(_pid, "pid"), Does.StartWith("pid:[").And.EqualTo(ProcFs.Namespace(Environment.ProcessId, "pid")));
    }

    [Test]
    public void StartTime_SameProcess_NeverChanges()
    {
        var first = ProcFs.StartTime(_pid);
        Thread.Sleep(50);
        Assert.That(ProcFs.StartTime(_pid), Is.EqualTo(first).And.Not.Null);
    }

    [Test]
    public async Task State_StoppedAndZombie_IsTold()
    {
        _ = Libc.Kill(_pid, Libc.SIGSTOP);
        await Poll.Until(() => ProcFs.State(_pid) == 'T', Poll.Deadline, "it is stopped");
        _ = Libc.Kill(_pid, Libc.SIGKILL);
        await Poll.Until(() => ProcFs.State(_pid) == 'Z', Poll.Deadline, "it is a zombie");
        Assert.That(ProcFs.Arguments(_pid), Is.EqualTo(new[] { "[a) Z 1 (b 2 3]" }), "a zombie has only its name");
        Assert.That(ProcFs.Environment(_pid), Is.Empty);
        Assert.That(ProcFs.StartTime(_pid), Is.Not.Null);
        ChildProgram.Collect(_pid);
        Assert.That(ProcFs.State(_pid), Is.Null, "collected");
        _pid = 0;
    }

    [Test]
    public void Read_NoSuchProcess_NothingAndNoException()
    {
        Assert.That(ProcFs.State(FreePid), Is.Null);
        Assert.That(ProcFs.StartTime(FreePid), Is.Null);
        Assert.That(ProcFs.Parent(FreePid), Is.Null);
        Assert.That(ProcFs.Credentials(FreePid), Is.Null);
        Assert.That(ProcFs.Namespace(FreePid, "pid"), Is.Null);
        Assert.That(ProcFs.HasTerminal(FreePid), Is.False);
        Assert.That(ProcFs.Arguments(FreePid), Is.Empty);
        Assert.That(ProcFs.Environment(FreePid), Is.Empty);
        Assert.That(ProcFs.WorkingDirectory(FreePid), Is.Empty);
    }

    [Test]
    public async Task Credentials_OtherUserWithGroups_Effective()
    {
        Machine.Require(Environment.IsPrivilegedProcess, "another user needs root");
        Machine.RequireProgram("setpriv");
        using var process = Process.Start(Machine.FindInPath("setpriv")!, ["--reuid", "1234", "--regid", "2345", "--groups", "7,8,9", "sleep", "300"]);
        try
        {
            var seen = await Poll.For(
                () => ProcFs.Credentials(process.Id), credentials => credentials?.Uid == 1234, Poll.Deadline, "setpriv has become the user");
            Assert.That((seen!.Value.Uid, seen.Value.Gid), Is.EqualTo((1234u, 2345u)));
            Assert.That(seen.Value.Groups, Is.EqualTo(new uint[] { 7, 8, 9 }));
        }
        finally
        {
            process.Kill();
            process.WaitForExit(10_000);
        }
    }

    [Test]
    public async Task WorkingDirectory_OtherRoot_AsTheProcessSeesIt()
    {
        Machine.Require(Environment.IsPrivilegedProcess, "chroot needs root");
        Directory.CreateDirectory(Path.Combine(_directory, "root", "inside"));
        File.Copy(BusyboxRootfs.Busybox, Path.Combine(_directory, "root", "busybox"));
        using var process = Process.Start(Machine.FindInPath("chroot")!, [Path.Combine(_directory, "root"), "/busybox", "sh", "-c", "cd /inside; exec /busybox sleep 300"]);
        try
        {
            await Poll.For(() => ProcFs.WorkingDirectory(process.Id), directory => directory == "/inside", Poll.Deadline, "its directory in its own root");
        }
        finally
        {
            process.Kill();
            process.WaitForExit(10_000);
        }
    }

    [Test]
    public void AwaitsExec_ShellThatForkedAndDidNotExec_TrueUntilItDoes()
    {
        // A subshell runs its parent's program until it executes its own.
        using var shell = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("/bin/sh", ["-c", "exec 3<&0; (read go <&3; exec sleep 100) & echo $!; wait"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        var child = int.Parse(shell.StandardOutput.ReadLine()!, System.Globalization.CultureInfo.InvariantCulture);
        try
        {
            Assert.That(ProcFs.AwaitsExec(child), Is.True);
            Assert.That(ProcFs.AwaitsExec(shell.Id), Is.False, "it was executed");
            shell.StandardInput.WriteLine("go");
            Assert.That(() => ProcFs.AwaitsExec(child), Is.False.After(5000, 10));
            Assert.That(ProcFs.Arguments(child), Is.EqualTo(new[] { "sleep", "100" }));
        }
        finally
        {
            using var process = PidFd.TryOpen(child);
            process?.Signal(9);
            shell.WaitForExit(5000);
        }

        Assert.That(ProcFs.AwaitsExec(child), Is.False, "it is gone");
    }
}
