using NUnit.Framework;
using Shim.Tests.FakeRunc;
using Shim.Tests.Support;

namespace Shim.Tests.Faults;

/// <summary>The runtime is killed half-way. What it has made by then is removed, whether it had written down that it made it or not.</summary>
public sealed class RuntimeDeathTests : SupervisorTests
{
    private static readonly string[] s_calls = ["mkdirat", "renameat", "unlinkat", "openat", "write", "clone"];

    private readonly FakeRuntime _runtime = new();

    /// <inheritdoc/>
    protected override SupervisorSettings Settings => new() { Runtime = _runtime.Path };

    [OneTimeSetUp]
    public void RequireTracer() => Machine.RequireProgram("strace");

    [TearDown]
    public void RemoveFaults() => _runtime.Clear();

    [OneTimeTearDown]
    public void RemoveRuntime() => _runtime.Dispose();

    // The cgroups are half made; all of them are, and the process is in them; there is a state without a pid; the init waits and no one knows its pid.
    [TestCase(Verb.Create, "mkdirat", 4)]
    [TestCase(Verb.Create, "renameat", 1)]
    [TestCase(Verb.Create, "renameat", 2)]
    [TestCase(Verb.Start, "openat", 12)]
    [TestCase(Verb.Start, "unlinkat", 1)]
    [TestCase(Verb.Exec, "clone", 6)]
    [TestCase(Verb.Exec, "renameat", 1)]
    [TestCase(Verb.Pause, "write", 2)]
    [TestCase(Verb.Delete, "unlinkat", 3)]
    public Task Killed(Verb verb, string call, int number) => PlayAsync(verb, call, number);

    [Test]
    [Category("Soak")]
    public async Task KilledEverywhere([Values] Verb verb, [ValueSource(nameof(s_calls))] string call)
    {
        for (var number = 1; number <= (call is "openat" or "write" ? 120 : 24); number += call is "openat" or "write" ? 5 : 1)
        {
            await PlayAsync(verb, call, number);
        }
    }

    /// <summary>The runtime dies over the creation, and fails at first to remove what it has made.</summary>
    [Test]
    public async Task Killed_AndTheRemovalFailsAtFirst_LeavesNothing()
    {
        _runtime.Set("killed:create:renameat:2", "fail:delete:1");
        var scene = new Scene(Supervisor, "half", Verb.Create, adopts: false);
        var creation = scene.ActAsync();
        await Poll.Until(() => _runtime.CountOf("delete") >= 2, Poll.Deadline, "it is tried again");
        _runtime.Clear();
        await scene.ConcludeAsync(await creation, supervisorDied: false, shimDied: false);
    }

    /// <summary>
    /// The shim and the supervisor die while the runtime creates, and the runtime then too: nobody is left who knows of it, and its own state
    /// says nothing.
    /// </summary>
    [Test]
    public async Task Killed_WithEverybodyElse_LeavesNothing([Values("mkdirat:6", "renameat:1", "renameat:2")] string point)
    {
        _runtime.Set("slow:create:1", $"killed:create:{point}");
        var scene = new Scene(Supervisor, "nobody", Verb.Create, adopts: false);
        var before = _runtime.CountOf("create");
        var creation = scene.ActAsync();
        await Poll.Until(() => _runtime.CountOf("create") > before, Poll.Deadline, "the runtime is under way");
        var shim = HostProcess.Children(Supervisor.ProcessId).Single(child => child.CommandLine.Contains("--state", StringComparison.Ordinal)).Pid;
        _ = Mono.Unix.Native.Syscall.kill(Supervisor.ProcessId, Mono.Unix.Native.Signum.SIGKILL);
        _ = Mono.Unix.Native.Syscall.kill(shim, Mono.Unix.Native.Signum.SIGKILL);
        await creation;
        await Supervisor.RestartAsync(hard: true);
        await Poll.Until(() => !Directory.Exists(Path.Combine(Supervisor.Root, "c", "nobody")), Poll.Deadline, "it is undone");
        await scene.ConcludeAsync(Grpc.Core.Status.DefaultCancelled, supervisorDied: true, shimDied: true);
    }

    private async Task PlayAsync(Verb verb, string call, int number)
    {
        var before = (await Supervisor.Control.InfoAsync(new Containerd.V1.InfoRequest())).NewestSequence;
        await using var events = await EventRecorder.FromNowAsync(Supervisor);
        var scene = new Scene(Supervisor, "victim", verb, adopts: false);
        _runtime.Clear();
        await scene.PrepareAsync();
        _runtime.Set($"killed:{verb.ToString().ToLowerInvariant()}:{call}:{number}");
        var outcome = await scene.ActAsync();
        _runtime.Clear();
        try
        {
            await scene.ConcludeAsync(outcome, supervisorDied: false, shimDied: false);
        }
        catch (Exception e) when (e is AssertionException or Grpc.Core.RpcException)
        {
            throw new AssertionException($"{verb}, killed before {call} {number}; the caller was told {outcome}\n{e}", e);
        }

        var newest = (await Supervisor.Control.InfoAsync(new Containerd.V1.InfoRequest())).NewestSequence;
        await Poll.Until(() => newest == before || events.Events is [.., var last] && last.Sequence >= newest, Poll.Deadline, "all events");
        Scene.CheckEvents(events.Events);
    }
}
