using System.Text.Json.Nodes;
using NUnit.Framework;
using Shim.Tests.Processes;
using Shim.Tests.Support;

namespace Shim.Tests.Runtime;

/// <summary>The wrapper around the runtime, with scripts in the runtime's place.</summary>
public sealed class OciRuntimeTests
{
    private string _directory = null!;

    [SetUp]
    public void Prepare() => _directory = TestRun.NewDirectory("runtime");

    [TearDown]
    public void Remove()
    {
        Leaks.Sweep(_directory, "no cgroup of ours");
        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public async Task Run_Environment_IsPathAlone()
    {
        // PWD, OLDPWD and _ would be the shell's own: read what it was started with.
        var seen = await RunAsync("start", "cat /proc/$$/environ >$here/env");
        Assert.That(Kind(seen), Is.EqualTo("None"));
        var environment = File.ReadAllText(Path.Combine(_directory, "env")).TrimEnd('\0').Split('\0');
        Assert.That(environment, Has.Length.EqualTo(1).And.All.Matches("^PATH=.+"));
    }

    [Test]
    public async Task Run_PlainVerb_DescriptorsAreNullAndTheErrorOutput()
    {
        await RunAsync("start", "(ls -l /proc/$$/fd >$here/fds)");
        Assert.That(Links(), Is.EqualTo(new[] { "0 /dev/null", "1 /memfd:runtime-output (deleted)", "2 /memfd:runtime-output (deleted)" }));
    }

    [Test]
    public async Task Run_VerbThatMakesAProcess_DescriptorsAreTheProcessesAlone()
    {
        await RunAsync("exec", "(ls -l /proc/$$/fd >$here/fds)");
        Assert.That(Links(), Is.EqualTo(new[] { "0 /dev/zero", "1 /dev/full", "2 /dev/null" }));
    }

    [Test]
    public async Task Run_Arguments_RootAndLogThenTheVerb()
    {
        await RunAsync("delete", "printf '%s\\n' \"$@\" >$here/args", root: "/some/root");
        var arguments = File.ReadAllLines(Path.Combine(_directory, "args"));
        Assert.That(arguments[..3], Is.EqualTo(new[] { "--root", "/some/root", "--log" }));
        Assert.That(arguments[3], Does.Match("^/proc/[0-9]+/fd/[0-9]+$"));
        Assert.That(arguments[4..], Is.EqualTo(new[] { "--log-format", "json", "delete", "--force", "c1" }));
    }

    [Test]
    public async Task Run_NoRoot_NoRootOption()
    {
        await RunAsync("start", "printf '%s\\n' \"$@\" >$here/args");
        Assert.That(File.ReadAllLines(Path.Combine(_directory, "args"))[2..], Is.EqualTo(new[] { "--log-format", "json", "start", "c1" }));
    }

    [Test]
    public async Task Run_LogAndStderr_LastErrorOfTheLogWins()
    {
        var seen = await RunAsync("exec", """
            printf '{"level":"error","msg":"first","time":"t"}\n' >>"$2"
            printf '{"level":"error","msg":"container does not exist","time":"t"}\n' >>"$2"
            exit 1
            """);
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("NotFound", "runc exec: container does not exist")));
    }

    [Test]
    public async Task Run_TextOnStderrOnly_ItsLastLine()
    {
        var seen = await RunAsync("start", "echo one >&2; echo two >&2; exit 3");
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("RuntimeFailed", "runc start: two")));
    }

    [Test]
    public async Task Run_NothingSaid_ExitStatusIsTold()
    {
        var seen = await RunAsync("start", "exit 3");
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("RuntimeFailed", "runc start: exit status 3")));
    }

    [Test]
    public async Task Run_RuntimeKilled_SignalIsTold()
    {
        var seen = await RunAsync("start", "kill -KILL $$");
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("RuntimeFailed", "runc start: killed by signal 9")));
    }

    [Test]
    public async Task Run_Success_WhateverItPrinted()
    {
        var seen = await RunAsync("start", "echo '{\"level\":\"error\",\"msg\":\"no matter\"}' >&2; exit 0");
        Assert.That(Kind(seen), Is.EqualTo("None"));
    }

    [Test]
    public async Task Run_HundredMegabytesOfNoise_ErrorIsFoundAndMessageIsBounded()
    {
        var seen = await RunAsync("start", """
            head -c 100000000 /dev/zero | tr '\0' x
            echo
            printf '{"level":"error","msg":"the cause"}\n' >>"$2"
            exit 1
            """);
        Assert.That(Message(seen), Is.EqualTo("runc start: the cause"));
        seen = await RunAsync("start", "head -c 100000000 /dev/zero | tr '\\0' x; exit 1");
        Assert.That(Message(seen), Does.StartWith("runc start: xxx").And.Length.LessThan(5000));
    }

    [Test]
    public async Task Run_Deadline_KillsTheWholeGroup()
    {
        // `pause` has the shortest deadline, 10 s.
        var seen = await RunAsync("pause", "sleep 1000 & sleep 1000 & wait");
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("DeadlineExceeded", $"{_directory}/runc pause did not finish within 10 s and was killed")));
        Assert.That(seen["seconds"]!.GetValue<double>(), Is.InRange(9.9, 20));
        Assert.That((seen["collected"]!.GetValue<int>(), seen["left"]!.GetValue<int>()), Is.EqualTo((3, 0)), "the script and both sleeps");
    }

    [Test]
    public async Task Run_Aborted_KillsTheWholeGroup()
    {
        var seen = await RunAsync("create", "sleep 1000 & sleep 1000 & wait", abortAfter: 500);
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("Cancelled", $"{_directory}/runc create was stopped, because its container has ended")));
        Assert.That(seen["seconds"]!.GetValue<double>(), Is.InRange(0.4, 10));
        Assert.That((seen["collected"]!.GetValue<int>(), seen["left"]!.GetValue<int>()), Is.EqualTo((3, 0)));
    }

    [TestCase("/nonexistent/runc", "the runtime /nonexistent/runc does not exist")]
    [TestCase("no-such-runtime", "cannot find the runtime \"no-such-runtime\" in PATH")]
    [TestCase("/etc", "the runtime /etc does not exist")]
    [TestCase("/etc/passwd", "Permission denied")]
    public async Task Run_NoSuchRuntime_InvalidArgumentNamesIt(string binary, string message)
    {
        var seen = await Probe.RunAsync("runtime", binary, "start", "-1", "");
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("InvalidArgument", Message(seen))));
        Assert.That(Message(seen), Does.Contain(message));
    }

    [Test]
    public async Task Run_RealRuntimeWithoutSuchContainer_NotFound()
    {
        Machine.RequireContainers();
        var seen = await Probe.RunAsync("runtime", "runc", "start", "-1", Path.Combine(_directory, "root"));
        Assert.That((Kind(seen), Message(seen)), Is.EqualTo(("NotFound", "runc start: container does not exist")));
        seen = await Probe.RunAsync("runtime", "runc", "create", "-1", Path.Combine(_directory, "root"));
        Assert.That(Kind(seen), Is.EqualTo("InvalidArgument"), Message(seen));
    }

    private async Task<JsonObject> RunAsync(string verb, string script, int abortAfter = -1, string root = "")
    {
        var runtime = Path.Combine(_directory, "runc");
        File.WriteAllText(runtime, $"#!/bin/sh\nhere={_directory}\n{script}\n");
        File.SetUnixFileMode(runtime, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return await Probe.RunAsync("runtime", runtime, verb, $"{abortAfter}", root);
    }

    // "0 /dev/null" and so on for each descriptor but that of the script itself, which the shell keeps above 9.
    private string[] Links() =>
    [
        .. File.ReadAllLines(Path.Combine(_directory, "fds"))
            .Where(line => line.Contains(" -> ", StringComparison.Ordinal))
            .Select(line => line.Split(" -> ") is [var left, var target] ? $"{left.Split(' ')[^1]} {target}" : line)
            .Where(line => !line.EndsWith($"{_directory}/runc", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal),
    ];

    private static string Kind(JsonObject seen) => seen["kind"]!.GetValue<string>();

    private static string Message(JsonObject seen) => seen["message"]?.GetValue<string>() ?? "";
}
