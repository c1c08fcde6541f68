using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Rootfs;

namespace Shim.Tests.Rootfs;

public sealed class MountOptionsTests
{
    [Test]
    public void Parse_FlagsPropagationAndData_TakenApart()
    {
        var options = MountOptions.Parse(["rbind", "ro", "nosuid", "rslave", "size=64k", "mode=755"]);
        Assert.That(options.Flags, Is.EqualTo(Libc.MS_BIND | Libc.MS_REC | Libc.MS_RDONLY | Libc.MS_NOSUID));
        Assert.That(options.Propagation, Is.EqualTo(Libc.MS_SLAVE | Libc.MS_REC));
        Assert.That(options.Data, Is.EqualTo(new[] { "size=64k", "mode=755" }));
        Assert.That(options.Loop, Is.False);
    }

    [Test]
    public void Parse_LaterOptions_UndoEarlierOnes()
    {
        Assert.That(MountOptions.Parse(["ro", "nodev", "rw", "dev"]).Flags, Is.Zero);
        Assert.That(MountOptions.Parse(["defaults", "noatime", "atime", "sync", "async"]).Flags, Is.Zero);
    }

    [Test]
    public void Parse_NotesBetweenContainerdsParts_LeftOut() =>
        Assert.That(MountOptions.Parse(["X-containerd.parent=1", "lowerdir=/a"]).Data, Is.EqualTo(new[] { "lowerdir=/a" }));

    [Test]
    public void Parse_Loop_Noted() => Assert.That(MountOptions.Parse(["loop", "ro"]) is { Loop: true, Flags: Libc.MS_RDONLY }, Is.True);

    [TestCase("uidmap=0:1000:10")]
    [TestCase("gidmap=0:1000:10")]
    public void Parse_MappedIds_RefusedInClearWords(string option) =>
        Assert.That(
            () => MountOptions.Parse([option]),
            Throws.TypeOf<TaskException>().With.Property("Kind").EqualTo(ErrorKind.Precondition).And.Message.Contains(option));

    [Test]
    public void Join_FewLayers_AbsolutePathsStay()
    {
        var (data, directory) = OverlayPaths.Join(["lowerdir=/layers/2/fs:/layers/1/fs", "upperdir=/up", "workdir=/work"]);
        Assert.That(data, Is.EqualTo("lowerdir=/layers/2/fs:/layers/1/fs,upperdir=/up,workdir=/work"));
        Assert.That(directory, Is.Null);
    }

    [Test]
    public void Join_ManyLayers_SeenFromTheirDirectory()
    {
        var layers = Enumerable.Range(1, 120).Select(n => $"/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/{n}/fs").ToList();
        var (data, directory) = OverlayPaths.Join([$"lowerdir={string.Join(':', layers)}", "upperdir=/up", "workdir=/work"]);
        Assert.That(directory, Is.EqualTo("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"));
        Assert.That(data, Does.StartWith("lowerdir=1/fs:2/fs:3/fs:").And.EndWith(":120/fs,upperdir=/up,workdir=/work"));
        Assert.That(data.Length, Is.LessThan(OverlayPaths.MaxData));
        Assert.That(data["lowerdir=".Length..].Split(',')[0].Split(':').Select(layer => $"{directory}/{layer}"), Is.EqualTo(layers));
    }
}
