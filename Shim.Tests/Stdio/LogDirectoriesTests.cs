using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

/// <summary>Where files that callers name may lie, and that no link leads anywhere else.</summary>
internal sealed class LogDirectoriesTests
{
    private string _top = "";

    [SetUp]
    public void MakeDirectories()
    {
        _top = Directory.CreateTempSubdirectory("shim-logs-").FullName;
        Directory.CreateDirectory(PathOf("allowed/deep"));
        Directory.CreateDirectory(PathOf("elsewhere"));
        File.CreateSymbolicLink(PathOf("allowed/inside"), "deep");
        File.CreateSymbolicLink(PathOf("allowed/outside"), "../elsewhere");
        File.CreateSymbolicLink(PathOf("allowed/absolute"), PathOf("elsewhere"));
        File.CreateSymbolicLink(PathOf("elsewhere/link"), PathOf("elsewhere/target"));
    }

    [TearDown]
    public void RemoveDirectories() => Directory.Delete(_top, recursive: true);

    [Test]
    public void NothingAllowed_AnyDirectoryWithoutALink()
    {
        Open([], "file://", "allowed/deep/new.log").Dispose();
        Assert.That(File.GetUnixFileMode(PathOf("allowed/deep/new.log")), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        Refused([], "file://", "allowed/inside/new.log", "symbolic link");
        Refused([], "file://", "allowed/outside/new.log", "symbolic link");
        Refused([], "log://", "allowed/inside/new.log", "symbolic link");
        Assert.That(Directory.GetFiles(PathOf("elsewhere")), Has.Length.EqualTo(1), "only the link that was there");
    }

    [Test]
    public void Allowed_LinksThatStayBeneath_AreFollowed()
    {
        Open(["allowed"], "file://", "allowed/inside/new.log").Dispose();
        Assert.That(File.Exists(PathOf("allowed/deep/new.log")));
        Refused(["allowed"], "file://", "allowed/outside/new.log", "leads out of");
        Refused(["allowed"], "file://", "allowed/absolute/new.log", "leads out of");
        Refused(["allowed"], "file://", "elsewhere/new.log", "outside of the directories");
        Refused(["allowed"], "log://", "elsewhere/new.log", "outside of the directories");
        Open(["elsewhere", "allowed"], "log://", "allowed/new.log").Dispose();

        // A name that only begins alike is another directory.
        Directory.CreateDirectory(PathOf("allowed-not"));
        Refused(["allowed"], "file://", "allowed-not/new.log", "outside of the directories");
    }

    [Test]
    public void LastComponent_IsNeverFollowed()
    {
        Refused([], "file://", "elsewhere/link", "not a regular file");
        Refused(["elsewhere"], "file://", "elsewhere/link", "not a regular file");
        Assert.That(File.Exists(PathOf("elsewhere/target")), Is.False);
    }

    [TestCase("file://", "a/../b")]
    [TestCase("log://", "a/../b")]
    [TestCase("file://", "deep/")]
    [TestCase("file://", "")]
    [TestCase("log://", "missing/new.log")]
    public void PathsThatCannotBe_AreRefused(string scheme, string path) =>
        Assert.That(() => Open([], scheme, path).Dispose(), Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.InvalidArgument));

    [Test]
    public void AppendsToWhatIsThere()
    {
        File.WriteAllText(PathOf("allowed/old.log"), "old\n");
        using (var file = Open([], "file://", "allowed/old.log"))
        {
            Fd.WriteAll(file, "new\n"u8);
        }

        Assert.That(File.ReadAllText(PathOf("allowed/old.log")), Is.EqualTo("old\nnew\n"));
    }

    private string PathOf(string name) => Path.Combine(_top, name);

    private Microsoft.Win32.SafeHandles.SafeFileHandle Open(string[] allowed, string scheme, string path)
    {
        var address = StreamAddress.Parse("stdout", $"{scheme}{_top}/{path}");
        try
        {
            return new LogDirectories([.. allowed.Select(PathOf)]).OpenFile(address);
        }
        catch (NativeException e)
        {
            throw address.Failure(e);
        }
    }

    private void Refused(string[] allowed, string scheme, string path, string reason)
    {
        var refusal = Assert.Throws<TaskException>(() => Open(allowed, scheme, path).Dispose())!;
        Assert.That(refusal.Kind, Is.EqualTo(ErrorKind.InvalidArgument));
        Assert.That(refusal.Message, Does.Contain(reason));
    }
}
