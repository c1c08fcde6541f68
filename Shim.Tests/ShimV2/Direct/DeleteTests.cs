using Mono.Unix.Native;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Direct;

/// <summary><c>delete</c> after the shim was killed: everything goes, and the status is the true one as far as anybody can know it.</summary>
public sealed class DeleteTests
{
    [Test]
    public async Task Running_IsKilled_137()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("sleep 1000000 & sleep 1000000");
        await task.Shim.ExecAsync(task.Id, "e1", "sleep 1000000");
        var exec = await task.Shim.StartAsync(task.Id, "e1");
        await task.KillShimAsync();
        var before = DateTimeOffset.UtcNow.AddSeconds(-1);
        var deleted = await test.DeleteAsync(task.Id, task.Bundle.Path);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo(((uint)task.Pid, 137u)));
        Assert.That(deleted.ExitedAt.ToDateTimeOffset(), Is.InRange(before, DateTimeOffset.UtcNow));
        Assert.That((HostProcess.Runs(task.Pid), HostProcess.Runs(exec)), Is.EqualTo((false, false)));
        await AgainAsync(test, task, 255);
    }

    [Test]
    public async Task PausedOne_IsKilledToo()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync();
        await task.Shim.PauseAsync(task.Id);
        await task.KillShimAsync();
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(137u));
        Assert.That(HostProcess.Runs(task.Pid), Is.False);
    }

    [Test]
    public async Task NotStarted_IsRemoved()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.CreateAsync();
        await task.KillShimAsync();
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(137u));
        Assert.That(HostProcess.Runs(task.Pid), Is.False);
    }

    [Test]
    public async Task EndedBefore_StatusAndTimeFromTheJournal()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("exit 42");
        var exit = await task.Shim.WaitAsync(task.Id);
        await task.KillShimAsync();
        var deleted = await test.DeleteAsync(task.Id, task.Bundle.Path);
        Assert.That((deleted.Pid, deleted.ExitStatus, deleted.ExitedAt), Is.EqualTo(((uint)task.Pid, 42u, exit.ExitedAt)));
        await AgainAsync(test, task, 42);
    }

    [Test]
    public async Task TornJournal_WhatCanBeReadCounts()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("exit 42");
        _ = await task.Shim.WaitAsync(task.Id);
        await task.KillShimAsync();
        await File.AppendAllTextAsync(Path.Combine(task.Bundle.Path, "journal"), "{\"seq\":99,\"type\":\"DEL");
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(42u));
    }

    [Test]
    public async Task TornExit_NobodyKnows_255()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("exit 42");
        _ = await task.Shim.WaitAsync(task.Id);
        await task.KillShimAsync();
        var journal = Path.Combine(task.Bundle.Path, "journal");
        var text = await File.ReadAllTextAsync(journal);
        await File.WriteAllTextAsync(journal, text[..^20]);
        var deleted = await test.DeleteAsync(task.Id, task.Bundle.Path);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo(((uint)task.Pid, 255u)));
    }

    [Test]
    public async Task JournalGone_TheRuntimeStillRemovesIt()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync();
        await task.KillShimAsync();
        File.Delete(Path.Combine(task.Bundle.Path, "journal"));
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(255u));
        await Poll.Until(() => !HostProcess.Runs(task.Pid), Poll.Deadline, "the end of init");
    }

    [Test]
    public async Task DiedWhileNobodyWatched_255()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync();
        await task.KillShimAsync();
        Assert.That(Syscall.kill(task.Pid, Signum.SIGTERM), Is.Zero.Or.EqualTo(-1));
        Assert.That(Syscall.kill(task.Pid, Signum.SIGKILL), Is.Zero.Or.EqualTo(-1));
        await Poll.Until(() => HostProcess.Read(task.Pid) is null, Poll.Deadline, "init is gone");
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(255u));
    }

    [Test]
    public async Task NeverCreated_NoError()
    {
        await using var test = new ShimV2Fixture();
        Assert.That((await test.DeleteAsync(TestRun.NewName("c"), test.NewBundle().Path)).ExitStatus, Is.EqualTo(255u));
    }

    private static async Task AgainAsync(ShimV2Fixture test, TestTask task, uint status) =>
        Assert.That((await test.DeleteAsync(task.Id, task.Bundle.Path)).ExitStatus, Is.EqualTo(status).Or.EqualTo(137u),
            // Whose parent has not collected it yet still shows that it was killed.
            "a second time, as after a crash of containerd");
}
