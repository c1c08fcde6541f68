using System.Diagnostics;
using System.Text;
using Containerd;
using NUnit.Framework;
using Shim.Runtime;
using Shim.Tests.Support;

namespace Shim.Tests.Runtime;

/// <summary>What runtimes say, and what we make of it. Messages of runc are those of runc 1.1.5, as it printed them.</summary>
public sealed class RuntimeErrorsTests
{
    [TestCase("container does not exist", ErrorKind.NotFound)]
    [TestCase("exec failed: container does not exist", ErrorKind.NotFound)]
    [TestCase("runc create failed: container with given ID already exists", ErrorKind.AlreadyExists)]
    [TestCase("exec: \"it already exists\": executable file not found in $PATH", ErrorKind.InvalidArgument)]
    [TestCase("the hook said that it does not exist and failed", ErrorKind.RuntimeFailed)]
    [TestCase("cannot start an already running container", ErrorKind.Precondition)]
    [TestCase("cannot start a container that has stopped", ErrorKind.Precondition)]
    [TestCase("container not running", ErrorKind.Precondition)]
    [TestCase("container not paused", ErrorKind.Precondition)]
    [TestCase("exec failed: cannot exec in a stopped container", ErrorKind.Precondition)]
    [TestCase("exec failed: cannot exec in a paused container (use --ignore-paused to override)", ErrorKind.Precondition)]
    [TestCase("runc create failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH", ErrorKind.InvalidArgument)]
    [TestCase("exec failed: unable to start container process: exec: \"/proc\": permission denied", ErrorKind.InvalidArgument)]
    [TestCase("exec failed: unable to start container process: exec /x: exec format error", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: chdir /nonexistent: no such file or directory", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: invalid rootfs: stat /tmp/b/none: no such file or directory", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: Cwd must be an absolute path", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: invalid container ID format", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: json: cannot unmarshal string into Go struct field User.process.user.uid of type uint32", ErrorKind.InvalidArgument)]
    [TestCase("exec failed: invalid character 'b' looking for beginning of object key string", ErrorKind.InvalidArgument)]
    [TestCase("runc create failed: fork/exec /proc/self/exe: resource temporarily unavailable", ErrorKind.Exhausted)]
    [TestCase("runc create failed: mkdir /run/runc/c1: no space left on device", ErrorKind.Exhausted)]
    [TestCase("runc create failed: unable to start container process: error during container init: error setting cgroup config for procHooks process: unable to set memory limit to 1 (current usage: 2420736, peak usage: 2457600)", ErrorKind.RuntimeFailed)]
    [TestCase("exit status 1", ErrorKind.RuntimeFailed)]
    [TestCase("", ErrorKind.RuntimeFailed)]
    public void Classify_RealMessages_TheRightKind(string message, ErrorKind kind) => Assert.That(RuntimeErrors.Classify(message), Is.EqualTo(kind));

    // The same on whatever runc is installed here: a new version that words it differently shows up.
    [TestCase("start nosuch", ErrorKind.NotFound)]
    [TestCase("pause nosuch", ErrorKind.NotFound)]
    [TestCase("resume nosuch", ErrorKind.NotFound)]
    [TestCase("delete nosuch", ErrorKind.NotFound)]
    [TestCase("exec nosuch true", ErrorKind.NotFound)]
    [TestCase("update --memory 1000000 nosuch", ErrorKind.NotFound)]
    [TestCase("create --bundle /nonexistent x", ErrorKind.InvalidArgument)]
    [TestCase("create ../x", ErrorKind.InvalidArgument)]
    public void Classify_WhatTheRuntimeOfThisMachineSays_TheRightKind(string arguments, ErrorKind kind)
    {
        Machine.RequireContainers();
        var directory = TestRun.NewDirectory("errors");
        try
        {
            var bundle = new BundleBuilder(directory).Write();
            Assert.That(RuntimeErrors.Classify(Ask(directory, bundle.Path, arguments)), Is.EqualTo(kind));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Test]
    public void LastError_JsonLog_LastErrorWithoutOtherLevels()
    {
        Assert.That(Last(Line("error", "one"), Line("error", "two"), Line("info", "three"), Line("warning", "four"), Line("debug", "five")), Is.EqualTo("two"));
        Assert.That(Last(Line("fatal", "six")), Is.EqualTo("six"));
        Assert.That(Last(Line("panic", "seven")), Is.EqualTo("seven"));
    }

    [Test]
    public void LastError_MembersInAnyOrderAndMore_Found()
    {
        Assert.That(Last("""{"msg":"m","time":"t","level":"error"}"""), Is.EqualTo("m"));
        Assert.That(Last("""{"extra":{"level":"info","msg":"inner"},"level":"error","msg":"outer","more":[1,{"msg":"no"}]}"""), Is.EqualTo("outer"));
        Assert.That(Last("""{"level":"error","msg":"a \"quoted\" ä \n line"}"""), Is.EqualTo("a \"quoted\" ä \n line"));
    }

    [Test]
    public void LastError_Text_LastLine()
    {
        Assert.That(Last("one", "two  ", "", "  "), Is.EqualTo("two"));
        Assert.That(Last("crlf\r"), Is.EqualTo("crlf"));
    }

    [Test]
    public void LastError_Mixed_TheLogWinsOverText() =>
        Assert.That(Last("noise before", Line("error", "the cause"), "noise after", Line("info", "later")), Is.EqualTo("the cause"));

    [Test]
    public void LastError_NothingUseful_Empty()
    {
        Assert.That(Last(), Is.Empty);
        Assert.That(Last("", "\r", "   "), Is.Empty);
        Assert.That(Last(Line("info", "fine")), Is.Empty);
    }

    [TestCase("""{"level":"error","msg":"the beg""")]
    [TestCase("""{"level":"error","ms""")]
    [TestCase("""{"level":"error"}""")]
    [TestCase("""{"level":7,"msg":"x"}""")]
    [TestCase("""{"level":"error","msg":7}""")]
    [TestCase("""{"level":"error","msg":{"x":1}}""")]
    [TestCase("{}")]
    [TestCase("{")]
    [TestCase("{]")]
    public void LastError_CutOrOddJson_TheOneBeforeStands(string odd)
    {
        Assert.That(Last(Line("error", "whole"), odd), Is.EqualTo("whole"));
        Assert.That(Last(odd), Is.Empty);
    }

    [Test]
    public void LastError_StringsThatAreNoUnicode_DoNotThrow()
    {
        byte[] invalid = [.. """{"level":"error","msg":" """u8[..^1], 0xff, 0xfe, .. "\"}\n"u8];
        Assert.That(() => RuntimeErrors.LastError(invalid), Throws.Nothing);
        Assert.That(() => Last("""{"level":"error","msg":"\ud800"}"""), Throws.Nothing);
        Assert.That(RuntimeErrors.LastError([0xff, (byte)'x']), Is.EqualTo("\ufffdx"));
    }

    [Test]
    public void LastError_MegabytesOfNoise_BoundedAndQuick()
    {
        var noise = string.Concat(Enumerable.Repeat("some noise of a hook\n", 50_000));
        var clock = Stopwatch.StartNew();
        Assert.That(Last(noise + Line("error", "the cause") + "\n" + noise), Is.EqualTo("the cause"));
        Assert.That(Last(new string('x', 5_000_000)), Has.Length.EqualTo(4096));
        Assert.That(Last(Line("error", new string('y', 5_000_000))), Has.Length.EqualTo(4096));
        Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromSeconds(5)));
    }

    private static string Last(params string[] lines) => RuntimeErrors.LastError(Encoding.UTF8.GetBytes(string.Join('\n', lines)));

    private static string Line(string level, string message) => $$"""{"level":"{{level}}","msg":"{{message}}","time":"2026-01-31T12:00:00Z"}""";

    private static string Ask(string directory, string bundle, string arguments)
    {
        var log = Path.Combine(directory, "log");
        using var process = Process.Start(new ProcessStartInfo(
            Machine.Runc!, ["--root", Path.Combine(directory, "root"), "--log", log, "--log-format", "json", .. arguments.Split(' ')])
        {
            WorkingDirectory = bundle,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        if (!process.WaitForExit(20_000))
        {
            process.Kill();
        }

        Assert.That(process.ExitCode, Is.Not.Zero);
        return RuntimeErrors.LastError(File.ReadAllBytes(log));
    }
}
