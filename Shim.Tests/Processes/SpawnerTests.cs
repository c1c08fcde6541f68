using System.Globalization;
using Microsoft.Win32.SafeHandles;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

public sealed class SpawnerTests
{
    private const ulong SigPipe = 1UL << 12;

    [Test]
    public void Spawn_AnyState_ChildHasDefaultDispositionsAndEmptyMask()
    {
        var (status, _) = ChildProgram.Run(output => ChildProgram.Request("/bin/cat", ["cat", "/proc/self/status"], output));
        Assert.That((Mask(status, "SigIgn"), Mask(status, "SigBlk"), Mask(status, "SigCgt")), Is.EqualTo((0UL, 0UL, 0UL)));
    }

    [Test]
    public void PlainSpawn_UnderDotNet_ChildIgnoresSigPipe() =>
        Assert.That(Mask(ChildProgram.RunPlainly("/bin/cat", "/proc/self/status"), "SigIgn") & SigPipe, Is.EqualTo(SigPipe),
            "the control: without the spawner's attributes the child inherits what the .NET runtime ignores");

    [Test]
    public void Spawn_InheritableDescriptorsOpen_ChildHasOnlyTheThreeStandardOnes()
    {
        using var leak = Inheritable();
        var (listing, _) = ChildProgram.Run(output => ChildProgram.Shell("ls /proc/$$/fd", output));
        Assert.That(Numbers(listing), Is.EqualTo(new[] { 0, 1, 2 }));
    }

    [Test]
    public void PlainSpawn_InheritableDescriptorOpen_ChildHasItToo()
    {
        using var leak = Inheritable();
        var listing = ChildProgram.RunPlainly("/bin/sh", "-c", "ls /proc/$$/fd");
        Assert.That(Numbers(listing), Does.Contain(Fd.Number(leak)), "the control");
    }

    [Test]
    public void Spawn_Extras_LieFromThreeUpInOrder()
    {
        using var first = File("one");
        using var second = File("two");
        using var third = File("three");
        Assert.That(ReadExtras(first, second, third), Is.EqualTo("one two three"));
    }

    [Test]
    public void Spawn_SameDescriptorTwice_BothThere()
    {
        using var file = File("one");
        Assert.That(ReadExtras(file, file), Is.EqualTo("one one"));
    }

    [Test]
    public void Spawn_SourcesLieOnEachOthersTargets_AllArrive()
    {
        // Low numbers are taken in this process, so the overlap is made at the numbers that are free: with as many extras as it takes to
        // have 3 + i = number of another extra, in both directions.
        var files = Enumerable.Range(0, 400).Select(i => File($"{i}")).ToList();
        try
        {
            var highest = files.Max(Fd.Number);
            var extras = files.OrderByDescending(Fd.Number).ToList();
            Assert.That(extras.Count(file => Fd.Number(file) < 3 + extras.Count), Is.GreaterThan(50), $"the overlap that this is about (highest {highest})");
            var expected = string.Join(' ', extras.Select(Content));
            Assert.That(ReadExtras([.. extras]), Is.EqualTo(expected), "descending");
            extras.Reverse();
            expected = string.Join(' ', extras.Select(Content));
            Assert.That(ReadExtras([.. extras]), Is.EqualTo(expected), "ascending");
        }
        finally
        {
            files.ForEach(file => file.Dispose());
        }
    }

    [Test]
    public void Spawn_StandardDescriptorsOfOurOwn_MayBeSwapped()
    {
        // Sources 0 to 2 are the targets themselves, crosswise.
        using var one = new SafeFileHandle(1, ownsHandle: false);
        using var two = new SafeFileHandle(2, ownsHandle: false);
        using var zero = new SafeFileHandle(0, ownsHandle: false);
        var (links, _) = ChildProgram.Run(output => new SpawnRequest
        {
            Path = "/bin/sh",
            Arguments = ["sh", "-c", "(for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done >&3)"],
            Environment = ["PATH=/usr/bin:/bin"],
            Stdin = two,
            Stdout = zero,
            Stderr = one,
            ExtraDescriptors = [output],
        });
        Assert.That(links.TrimEnd().Split('\n'), Is.EqualTo(new[] { Link(2), Link(0), Link(1) }));

        static string? Link(int fd) => new FileInfo($"/proc/self/fd/{fd}").LinkTarget;
    }

    [Test]
    public void Spawn_WorkingDirectory_ChildStartsThere()
    {
        var directory = TestRun.NewDirectory("spawn");
        try
        {
            var (output, _) = ChildProgram.Run(output => With(ChildProgram.Shell("pwd -P", output), directory));
            Assert.That(output, Is.EqualTo($"{directory}\n"));
            (output, _) = ChildProgram.Run(output => ChildProgram.Shell("pwd -P", output));
            Assert.That(output, Is.EqualTo($"{Environment.CurrentDirectory}\n"), "none given: ours");
        }
        finally
        {
            Directory.Delete(directory);
        }
    }

    [Test]
    public void Spawn_MissingWorkingDirectory_Throws() => Assert.That(
        () => Spawner.Spawn(With(ChildProgram.Shell("exit 0", ChildProgram.Null), "/nonexistent/directory")),
        Throws.TypeOf<NativeException>().With.Property("Number").EqualTo(Errno.ENOENT));

    [Test]
    public void Spawn_Environment_ExactlyAsGiven()
    {
        // The \0 separated original, because tools that print it sort and filter.
        string[] environment = ["A=1", "B=two words", "C=", "A=again", "D=äöü", "E=x=y"];
        var (output, _) = ChildProgram.Run(stdout => new SpawnRequest
        {
            Path = "/bin/cat",
            Arguments = ["cat", "/proc/self/environ"],
            Environment = environment,
            Stdin = ChildProgram.Null,
            Stdout = stdout,
            Stderr = ChildProgram.Null,
        });
        Assert.That(output.TrimEnd('\0').Split('\0'), Is.EqualTo(environment));
    }

    [Test]
    public void Spawn_NoEnvironment_Empty()
    {
        var (output, _) = ChildProgram.Run(stdout => new SpawnRequest
        {
            Path = "/bin/cat",
            Arguments = ["cat", "/proc/self/environ"],
            Environment = [],
            Stdin = ChildProgram.Null,
            Stdout = stdout,
            Stderr = ChildProgram.Null,
        });
        Assert.That(output, Is.Empty);
    }

    [Test]
    public void Spawn_Arguments_ExactlyAsGiven()
    {
        string[] arguments = ["", "two words", "ä", "$HOME", "*", "'", "\"", "\n", new('x', 100_000)];
        var (output, _) = ChildProgram.Run(stdout => ChildProgram.Shell("for a; do printf '%s\\0' \"$a\"; done", stdout, arguments));
        Assert.That(output.Split('\0')[..^1], Is.EqualTo(arguments));
    }

    [Test]
    public void Spawn_NulInAString_Refused()
    {
        string[] bad = ["a\0b"];
        Assert.That(() => Spawner.Spawn(ChildProgram.Request("/bin/true", bad)), Throws.ArgumentException, "argument");
        Assert.That(() => Spawner.Spawn(ChildProgram.Request("/bin/tr\0ue", ["true"])), Throws.ArgumentException, "path");
        Assert.That(() => Spawner.Spawn(With(ChildProgram.Request("/bin/true", ["true"]), "/\0")), Throws.ArgumentException, "directory");
        Assert.That(
            () => Spawner.Spawn(new SpawnRequest
            {
                Path = "/bin/true",
                Arguments = ["true"],
                Environment = bad,
                Stdin = ChildProgram.Null,
                Stdout = ChildProgram.Null,
                Stderr = ChildProgram.Null,
            }),
            Throws.ArgumentException,
            "environment");
    }

    [TestCase("/nonexistent/program", Errno.ENOENT)]
    [TestCase("/etc/passwd", Errno.EACCES)]
    [TestCase("/etc", Errno.EACCES)]
    [TestCase("/etc/passwd/x", Errno.ENOTDIR)]
    public void Spawn_CannotBeExecuted_ThrowsAtOnceAndLeavesNothing(string path, int error)
    {
        var before = HostProcess.Children(Environment.ProcessId).Select(child => child.Pid).ToHashSet();
        Assert.That(
            () => Spawner.Spawn(ChildProgram.Request(path, ["x"])),
            Throws.TypeOf<NativeException>().With.Property("Number").EqualTo(error).And.Message.Contains(path));
        Assert.That(HostProcess.Children(Environment.ProcessId).Where(child => !before.Contains(child.Pid)), Is.Empty);
    }

    [Test]
    public void Spawn_ClosedDescriptor_Throws()
    {
        var closed = Fd.Open("/dev/null", Libc.O_RDWR);
        closed.Dispose();
        Assert.That(() => Spawner.Spawn(ChildProgram.Request("/bin/true", ["true"], closed)), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Spawn_NewSession_LeadsSessionAndGroup()
    {
        var (pid, group, session) = Ids(newSession: true, newGroup: false);
        Assert.That((group, session), Is.EqualTo((pid, pid)));
    }

    [Test]
    public void Spawn_NewProcessGroup_LeadsGroupInOurSession()
    {
        var (pid, group, session) = Ids(newSession: false, newGroup: true);
        Assert.That((group, session), Is.EqualTo((pid, OwnStat(5))));
    }

    [Test]
    public void Spawn_NeitherSessionNorGroup_StaysInOurs()
    {
        var (_, group, session) = Ids(newSession: false, newGroup: false);
        Assert.That((group, session), Is.EqualTo((OwnStat(4), OwnStat(5))));
    }

    [Test]
    public void Spawn_Status_ArrivesWithUsage()
    {
        var (_, status) = ChildProgram.Run(output => ChildProgram.Shell("exit 42", output));
        Assert.That(status, Is.EqualTo(new ExitStatus(42, 0, false)));
        (_, status) = ChildProgram.Run(output => ChildProgram.Shell("kill -TERM $$", output));
        Assert.That(status, Is.EqualTo(new ExitStatus(143, 15, false)));
    }

    private static SpawnRequest With(SpawnRequest request, string directory) => new()
    {
        Path = request.Path,
        Arguments = request.Arguments,
        Environment = request.Environment,
        Stdin = request.Stdin,
        Stdout = request.Stdout,
        Stderr = request.Stderr,
        WorkingDirectory = directory,
    };

    private static (int Pid, int Group, int Session) Ids(bool newSession, bool newGroup)
    {
        var (stat, _) = ChildProgram.Run(output => new SpawnRequest
        {
            Path = "/bin/cat",
            Arguments = ["cat", "/proc/self/stat"],
            Environment = [],
            Stdin = ChildProgram.Null,
            Stdout = output,
            Stderr = ChildProgram.Null,
            NewSession = newSession,
            NewProcessGroup = newGroup,
        });
        var fields = stat.Split(' ').Select((text, i) => i is 0 or 4 or 5 ? int.Parse(text, CultureInfo.InvariantCulture) : 0).ToArray();
        return (fields[0], fields[4], fields[5]);
    }

    // pgrp is field 5 and session field 6 of proc(5); what follows the name starts with field 3.
    private static int OwnStat(int index)
    {
        var stat = System.IO.File.ReadAllText("/proc/self/stat");
        return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[index - 2], CultureInfo.InvariantCulture);
    }

    private static string ReadExtras(params SafeFileHandle[] extras)
    {
        // Through the path, because positions are shared with the duplicates of earlier runs.
        var (output, status) = ChildProgram.Run(stdout => new SpawnRequest
        {
            Path = "/bin/sh",
            Arguments = ["sh", "-c", "fd=3; while [ $fd -lt $1 ]; do read -r line </proc/$$/fd/$fd; printf '%s\\n' \"$line\"; fd=$((fd + 1)); done; [ ! -e /proc/$$/fd/$fd ]", "sh", $"{3 + extras.Length}"],
            Environment = ["PATH=/usr/bin:/bin"],
            Stdin = ChildProgram.Null,
            Stdout = stdout,
            Stderr = ChildProgram.Null,
            ExtraDescriptors = extras,
        });
        Assert.That(status.Code, Is.Zero, "the descriptors end there");
        return output.TrimEnd().Replace('\n', ' ');
    }

    private static SafeFileHandle File(string content)
    {
        var file = Fd.Memory("extra");
        RandomAccess.Write(file, System.Text.Encoding.UTF8.GetBytes(content + "\n"), 0);
        return file;
    }

    private static string Content(SafeFileHandle file)
    {
        var buffer = new byte[16];
        return System.Text.Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(file, buffer, 0)).TrimEnd();
    }

    private static SafeFileHandle Inheritable()
    {
        var leak = Fd.Open("/dev/null", Libc.O_RDWR);
        Assert.That(Libc.Fcntl(Fd.Number(leak), Libc.F_SETFD, 0), Is.Zero);
        return leak;
    }

    private static int[] Numbers(string listing) =>
        [.. listing.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, CultureInfo.InvariantCulture))];

    private static ulong Mask(string status, string name) => ulong.Parse(
        status.Split('\n').First(line => line.StartsWith(name + ":", StringComparison.Ordinal))[(name.Length + 1)..].Trim(),
        NumberStyles.HexNumber,
        CultureInfo.InvariantCulture);
}
