using NUnit.Framework;
using Shim.Interop;
using Shim.Runtime;

namespace Shim.Tests.Runtime;

public sealed class RuntimeCommandTests
{
    private static readonly RuntimeStdio s_stdio = new(Fd.Open("/dev/null", Libc.O_RDWR), Fd.Open("/dev/null", Libc.O_RDWR), Fd.Open("/dev/null", Libc.O_RDWR));

    [Test]
    public void Arguments_EveryVerb_Spelled() => Assert.Multiple(() =>
    {
        Check(RuntimeCommand.Create("c1", "/b", "/p", null, false, s_stdio), RuntimeVerb.Create, "create --bundle /b --pid-file /p c1");
        Check(RuntimeCommand.Create("c1", "/b", "/p", "/c", false, s_stdio), RuntimeVerb.Create, "create --bundle /b --pid-file /p --console-socket /c c1");
        Check(RuntimeCommand.Create("c1", "/b", "/p", null, true, s_stdio), RuntimeVerb.Create, "create --bundle /b --pid-file /p --no-pivot c1");
        Check(RuntimeCommand.Create("c1", "/b", "/p", "/c", true, s_stdio), RuntimeVerb.Create, "create --bundle /b --pid-file /p --console-socket /c --no-pivot c1");
        Check(RuntimeCommand.Start("c1"), RuntimeVerb.Start, "start c1");
        Check(RuntimeCommand.Exec("c1", "/j", "/p", null, s_stdio), RuntimeVerb.Exec, "exec --detach --process /j --pid-file /p c1");
        Check(RuntimeCommand.Exec("c1", "/j", "/p", "/c", s_stdio), RuntimeVerb.Exec, "exec --detach --process /j --pid-file /p --console-socket /c c1");
        Check(RuntimeCommand.Pause("c1"), RuntimeVerb.Pause, "pause c1");
        Check(RuntimeCommand.Resume("c1"), RuntimeVerb.Resume, "resume c1");
        Check(RuntimeCommand.Update("c1", "/r"), RuntimeVerb.Update, "update --resources /r c1");
        Check(RuntimeCommand.Delete("c1"), RuntimeVerb.Delete, "delete --force c1");
    });

    [Test]
    public void Arguments_CheckpointAndRestore_Spelled() => Assert.Multiple(() =>
    {
        var spec = new CheckpointSpec { ImagePath = "/i" };
        Check(RuntimeCommand.Checkpoint("c1", spec, "/w", "/f"), RuntimeVerb.Checkpoint, "checkpoint --image-path /i --work-path /w --leave-running c1");
        Check(RuntimeCommand.Checkpoint("c1", spec with { Exit = true }, "/w", "/f"), RuntimeVerb.Checkpoint, "checkpoint --image-path /i --work-path /w c1");
        spec = spec with { Exit = true, OpenTcp = true, ExternalUnixSockets = true, Terminal = true, FileLocks = true, EmptyNamespaces = ["network"], CgroupsMode = "strict" };
        Check(RuntimeCommand.Checkpoint("c1", spec, "/w", "/f"), RuntimeVerb.Checkpoint,
            "checkpoint --image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks --empty-ns network --manage-cgroups-mode strict c1");
        Check(RuntimeCommand.Restore("c1", "/b", "/p", null, false, s_stdio, "/i", new CheckpointNotes(), "/w", "/f"), RuntimeVerb.Restore,
            "restore --detach --image-path /i --work-path /w --bundle /b --pid-file /p c1");
        var notes = new CheckpointNotes { OpenTcp = true, ExternalUnixSockets = true, Terminal = true, FileLocks = true };
        var restore = RuntimeCommand.Restore("c1", "/b", "/p", "/c", true, s_stdio, "/i", notes, "/w", "/f");
        Check(restore, RuntimeVerb.Restore,
            "restore --detach --image-path /i --work-path /w --bundle /b --pid-file /p --console-socket /c --no-pivot --tcp-established --ext-unix-sk --shell-job --file-locks c1");
        Assert.That(restore.Stdio, Is.SameAs(s_stdio));
        Assert.That(restore.Environment, Is.EqualTo(["CRIU_CONFIG_FILE=/f"]));
        Assert.That(RuntimeCommand.Start("c1").Environment, Is.Empty);
    });

    [Test]
    public void Stdio_OnlyVerbsThatMakeAProcess_HandItOn()
    {
        Assert.That(RuntimeCommand.Create("c1", "/b", "/p", null, false, s_stdio).Stdio, Is.SameAs(s_stdio));
        Assert.That(RuntimeCommand.Exec("c1", "/j", "/p", null, s_stdio).Stdio, Is.SameAs(s_stdio));
        foreach (var command in new[] { RuntimeCommand.Start("c"), RuntimeCommand.Pause("c"), RuntimeCommand.Resume("c"), RuntimeCommand.Update("c", "/r"), RuntimeCommand.Delete("c") })
        {
            Assert.That(command.Stdio, Is.Null, command.Arguments[0]);
        }
    }

    [Test]
    public void Deadlines_EveryVerb_HasOne()
    {
        foreach (var verb in Enum.GetValues<RuntimeVerb>())
        {
            Assert.That(RuntimeDeadlines.For(verb), Is.InRange(TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(10)), $"{verb}");
        }
    }

    private static void Check(RuntimeCommand command, RuntimeVerb verb, string arguments)
    {
        Assert.That(command.Verb, Is.EqualTo(verb));
        Assert.That(string.Join(' ', command.Arguments), Is.EqualTo(arguments));
        Assert.That(command.Arguments, Has.None.Empty);
    }
}
