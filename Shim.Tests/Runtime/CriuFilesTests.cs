using System.Diagnostics;
using System.Text;
using Containerd;
using Microsoft.Win32.SafeHandles;
using NUnit.Framework;
using Shim.Runtime;
using Shim.Tests.Support;

namespace Shim.Tests.Runtime;

/// <summary>What lies around a checkpoint: the names of its streams, the notes among its images, CRIU's log.</summary>
public sealed class CriuFilesTests
{
    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("criu");

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void Notes_Written_AreRead()
    {
        var notes = new CheckpointNotes { Streams = ["", "file[1d:10]", "file[1d:ffffffffffffffff]"], OpenTcp = true, FileLocks = true };
        notes.Write(_directory);
        var read = CheckpointNotes.Read(_directory);
        Assert.That(read.Streams, Is.EqualTo(notes.Streams));
        Assert.That(read with { Streams = notes.Streams }, Is.EqualTo(notes));
    }

    [Test]
    public void Notes_OfAnotherShimsImages_AreNone()
    {
        Assert.That(CheckpointNotes.Read(_directory).Streams, Is.Empty);
        Assert.That(CheckpointNotes.Read($"{_directory}/nowhere").Streams, Is.Empty);
    }

    [TestCase("")]
    [TestCase("[]")]
    [TestCase("""{"streams":["","",""]}""")]
    [TestCase("""{"streams":["",""],"openTcp":false,"externalUnixSockets":false,"terminal":false,"fileLocks":false}""")]
    [TestCase("""{"streams":["","","file[1:2]\naction-script /evil"],"openTcp":false,"externalUnixSockets":false,"terminal":false,"fileLocks":false}""")]
    [TestCase("""{"streams":["","",1],"openTcp":false,"externalUnixSockets":false,"terminal":false,"fileLocks":false}""")]
    public void Notes_ThatWeWouldNotWrite_Refused(string text)
    {
        File.WriteAllText($"{_directory}/shim.json", text);
        Assert.That(() => CheckpointNotes.Read(_directory), Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.InvalidArgument));
    }

    [TestCase("", true)]
    [TestCase("file[1d:9f]", true)]
    [TestCase("file[]", true)]
    [TestCase("file[1d:9f", false)]
    [TestCase("file[", false)]
    [TestCase("]", false)]
    [TestCase("pipe:[1]", false)]
    [TestCase("file[1 2]", false)]
    [TestCase("file[1]\n]", false)]
    public void IsName_OnlyOfFiles(string text, bool expected) => Assert.That(CriuStreams.IsName(text), Is.EqualTo(expected));

    [Test]
    public async Task NamesOf_AProcessInOurOwnMounts_AreEmpty()
    {
        // Pipes, and files in mounts that it has itself: CRIU needs no help with those.
        using var process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"read x </dev/null; exec sleep 1000000 >{_directory}/out"]) { RedirectStandardInput = true })!;
        try
        {
            await Poll.Until(() => File.Exists($"{_directory}/out"), Poll.Deadline, "the redirection");
            Assert.That(CriuStreams.NamesOf(process.Id), Is.EqualTo(["", "", ""]));
        }
        finally
        {
            process.Kill();
        }

        await process.WaitForExitAsync().WithinAsync(Poll.Deadline, "its end");
        Assert.That(CriuStreams.NamesOf(process.Id), Is.EqualTo(["", "", ""]), "of one that has ended");
    }

    [Test]
    public void Configurations_AreLinesForCriu()
    {
        using var dump = CriuStreams.ConfigureDump(["file[1:2]", "", "file[1:3]"]);
        Assert.That(TextOf(dump), Is.EqualTo("external file[1:2]\nexternal file[1:3]\n"));
        using var none = CriuStreams.ConfigureDump(["", "", ""]);
        Assert.That(TextOf(none), Is.Empty);
        using var restoration = CriuStreams.ConfigureRestoration(["", "file[1:2]", "file[1:3]"], "/a \"b\"");
        Assert.That(TextOf(restoration), Is.EqualTo("inherit-fd fd[1]:file[1:2]\ninherit-fd fd[2]:file[1:3]\ncgroup-root \"/a \\\"b\\\"\"\n"));
        using var foreign = CriuStreams.ConfigureRestoration([], null);
        Assert.That(TextOf(foreign), Is.Empty);
    }

    [Test]
    public void Work_OfAFailure_SaysWhatCriuHasSaid_AndKeepsItsLog()
    {
        using (var work = CriuWork.Open("", _directory, "dump.log"))
        {
            File.WriteAllText(
                $"{work.Directory}/dump.log",
                "(00.1) all is well\n(00.2) Error (criu/a.c:1): the reason\n(00.3)     42: Error (criu/b.c:2): a consequence\n(00.4) Error (criu/c.c:3): FAILED.\n(00.5) Error (criu/d.c:4): more\n");
            Assert.That(
                work.Explain($"runc checkpoint: criu failed: type NOTIFY errno 0\nlog file: {work.Directory}/dump.log "),
                Is.EqualTo($"runc checkpoint: criu failed: type NOTIFY errno 0, log file: {_directory}/criu-dump.log: the reason; a consequence; FAILED."));
        }

        Assert.That(Directory.GetFileSystemEntries(_directory), Is.EqualTo([$"{_directory}/criu-dump.log"]));
    }

    [Test]
    public void Work_WithoutALog_SaysWhatTheRuntimeHasSaid()
    {
        using (var work = CriuWork.Open("", _directory, "dump.log"))
        {
            Assert.That(work.Explain("no criu"), Is.EqualTo("no criu"));
        }

        Assert.That(Directory.GetFileSystemEntries(_directory), Is.Empty);
    }

    [Test]
    public void Work_OfTheCallers_IsLeftToHim()
    {
        var wanted = $"{_directory}/his/own";
        using (var work = CriuWork.Open(wanted, _directory, "dump.log"))
        {
            Assert.That(work.Directory, Is.EqualTo(wanted));
            File.WriteAllText($"{wanted}/dump.log", "Error (criu/a.c:1): the reason\n");
            Assert.That(work.Explain($"log file: {wanted}/dump.log"), Is.EqualTo($"log file: {wanted}/dump.log: the reason"));
        }

        Assert.That(File.Exists($"{wanted}/dump.log"), Is.True);
    }

    private static string TextOf(SafeFileHandle file)
    {
        var bytes = new byte[RandomAccess.GetLength(file)];
        return Encoding.UTF8.GetString(bytes, 0, RandomAccess.Read(file, bytes, 0));
    }
}
