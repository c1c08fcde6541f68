using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;
using Shim.Rootfs;
using Shim.Tests.Support;

namespace Shim.Tests.Rootfs;

/// <summary>Real mounts in a directory of our own.</summary>
public sealed class RootfsMountsTests
{
    private string _directory = "";
    private string _target = "";

    [SetUp]
    public void Prepare()
    {
        Machine.Require(Environment.IsPrivilegedProcess, "mounts need root");
        _directory = TestRun.NewDirectory("rootfs");

        // A file system of its own: overlays cannot lie on overlays everywhere.
        Libc.Mount("tmpfs", _directory, "tmpfs", 0, null);
        _target = Path.Combine(_directory, "bundle", "rootfs");
    }

    [TearDown]
    public void CleanUp()
    {
        RootfsMounts.UnmountAll(_directory);
        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public async Task Mount_BindReadOnly_SeenAndNotWritable()
    {
        var source = Make("source", "file", "text");
        await MountAsync(new MountSpec("bind", source, "", ["rbind", "ro"]));
        Assert.That(await File.ReadAllTextAsync(Path.Combine(_target, "file")), Is.EqualTo("text"));
        Assert.That(() => File.WriteAllText(Path.Combine(_target, "file"), "x"), Throws.InstanceOf<IOException>().Or.InstanceOf<UnauthorizedAccessException>());
        AssertUnmounts();
    }

    [Test]
    public async Task Mount_OverlayOf120Layers_AllAreThere()
    {
        // Names as long as those of containerd's snapshots: the options have far more than one page.
        var layers = Enumerable.Range(1, 120).Select(n => Make($"io.containerd.snapshotter.v1.overlayfs/snapshots/{n}/fs", $"layer{n}", $"{n}")).ToList();
        var upper = Directory.CreateDirectory(Path.Combine(_directory, "upper")).FullName;
        var work = Directory.CreateDirectory(Path.Combine(_directory, "work")).FullName;
        var here = Directory.GetCurrentDirectory();
        await MountAsync(new MountSpec("overlay", "overlay", "", [$"lowerdir={string.Join(':', layers)}", $"upperdir={upper}", $"workdir={work}"]));
        foreach (var n in Enumerable.Range(1, 120))
        {
            Assert.That(await File.ReadAllTextAsync(Path.Combine(_target, $"layer{n}")), Is.EqualTo($"{n}"));
        }

        await File.WriteAllTextAsync(Path.Combine(_target, "new"), "x");
        Assert.That(File.Exists(Path.Combine(upper, "new")), Is.True);
        Assert.That(Directory.GetCurrentDirectory(), Is.EqualTo(here), "the directory of this process is not touched");
        AssertUnmounts();
    }

    [Test]
    public async Task Mount_OneOverTheOtherAndBelow_AllGoAgain()
    {
        var source = Make("source", "data/file", "text");
        await MountAsync(
            new MountSpec("bind", source, "", ["bind"]),
            new MountSpec("tmpfs", "tmpfs", "data", ["nosuid", "size=64k"]),
            new MountSpec("bind", source, "", ["bind"]));
        AssertUnmounts();
    }

    [Test]
    public async Task Mount_SecondFails_FirstIsUndone()
    {
        var source = Make("source", "file", "text");
        var e = await FailAsync(new MountSpec("bind", source, "", ["bind"]), new MountSpec("nosuchfs", "x", "", []));
        Assert.That(e.Kind, Is.EqualTo(ErrorKind.Precondition));
        Assert.That(e.Message, Does.Contain("nosuchfs").Or.Contain("mount x"));
        Assert.That(Points(), Is.Empty);
    }

    [Test]
    public async Task Mount_TargetThroughALinkOfTheImage_StaysInside()
    {
        var source = Make("source", "inside/file", "text");
        File.CreateSymbolicLink(Path.Combine(source, "link"), "/inside");
        await MountAsync(new MountSpec("bind", source, "", ["bind"]), new MountSpec("tmpfs", "tmpfs", "link", []));
        Assert.That(Points(), Does.Contain(Path.Combine(_target, "inside")));
        AssertUnmounts();
    }

    [Test]
    public async Task Mount_TargetThatIsNotThere_Refused()
    {
        var source = Make("source", "file", "text");
        var e = await FailAsync(new MountSpec("bind", source, "", ["bind"]), new MountSpec("tmpfs", "tmpfs", "missing", []));
        Assert.That(e.Message, Does.Contain("missing"));
        Assert.That(Points(), Is.Empty);
    }

    [Test]
    public async Task Mount_HelperThatIsNotInstalled_Refused()
    {
        Assume.That(SearchPath.Find("mount.fuse3"), Is.Null, "mount.fuse3 is installed here");
        var e = await FailAsync(new MountSpec("fuse3.sshfs", "a:b", "", []));
        Assert.That(e.Message, Does.Contain("mount.fuse3").And.Contain("not installed"));
    }

    [Test]
    public async Task Unmount_InUse_OutOfSightAnyway()
    {
        await MountAsync(new MountSpec("tmpfs", "tmpfs", "", []));
        await using (File.Create(Path.Combine(_target, "open")))
        {
            AssertUnmounts();
        }
    }

    [Test]
    public void Unmount_NothingMounted_IsFine()
    {
        RootfsMounts.UnmountAll(_target);
        RootfsMounts.UnmountAll(Path.Combine(_target, "missing"));
    }

    private async Task MountAsync(params MountSpec[] mounts) => await RootfsMounts.MountAsync(new Reaper(_ => { }), mounts, _target);

    private async Task<TaskException> FailAsync(params MountSpec[] mounts)
    {
        try
        {
            await MountAsync(mounts);
        }
        catch (TaskException e)
        {
            return e;
        }

        throw new AssertionException("it was mounted");
    }

    private string Make(string directory, string file, string text)
    {
        var root = Path.Combine(_directory, directory);
        var path = Path.Combine(root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return root;
    }

    private void AssertUnmounts()
    {
        Assert.That(Points(), Is.Not.Empty);
        RootfsMounts.UnmountAll(_target);
        Assert.That(Points(), Is.Empty);
    }

    private List<string> Points() =>
        [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4]).Where(point => point.StartsWith(_target, StringComparison.Ordinal))];
}
