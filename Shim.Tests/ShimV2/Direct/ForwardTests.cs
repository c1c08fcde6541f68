using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Direct;

/// <summary>Events go to a daemon that is there, that is not, and that does not want them.</summary>
public sealed class ForwardTests
{
    private static readonly string[] s_life =
        ["create", "start", "exec-added e1", "exec-started e1", "exit e1 1", "exec-added e2", "exec-started e2", "exit e2 2", "exit 137"];

    [Test]
    public async Task DaemonAway_EverythingIsToldWhenItComes_InOrder_Once()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await LiveAsync(test);
        test.Daemon.StartTtrpc();
        await test.Daemon.Events.ExpectAsync(task.Id, s_life);

        // Away again, and back.
        await test.Daemon.StopTtrpcAsync();
        _ = await task.Shim.DeleteAsync(task.Id);
        test.Daemon.StartTtrpc();
        await test.Daemon.Events.ExpectAsync(task.Id, [.. s_life, "delete 137"]);
        Assert.That(test.Daemon.Attempts, Is.EqualTo(s_life.Length + 1));
    }

    [Test]
    public async Task DaemonGoesInTheMiddle_NothingIsLost()
    {
        await using var test = new ShimV2Fixture();
        test.Daemon.StartTtrpc();
        await using var task = await test.RunAsync();
        await test.Daemon.Events.ExpectAsync(task.Id, "create", "start");
        await test.Daemon.StopTtrpcAsync();
        await ExecAsync(task, "e1", 1);
        test.Daemon.StartTtrpc();
        await test.Daemon.Events.ExpectAsync(task.Id, "create", "start", "exec-added e1", "exec-started e1", "exit e1 1");
    }

    [Test]
    public async Task NoTtrpcAddress_GrpcIsUsed()
    {
        await using var test = new ShimV2Fixture();
        await test.Daemon.StartGrpcAsync();
        var id = TestRun.NewName("c");
        var bundle = test.NewBundle();
        var run = await ShimV2Fixture.CallAsync(
            ShimV2Fixture.Name, bundle.Path, [], ["-namespace", test.Namespace, "-address", test.Daemon.GrpcAddress, "-id", id, "start"]);
        var address = run.OutputOf();
        test.Started(id, address, TaskWire.TtrpcV2);
        await using var shim = await TaskClient.ConnectAsync(address);
        _ = await shim.CreateAsync(new Containerd.TaskApi.V2.CreateTaskRequest { Id = id, Bundle = bundle.Path });
        _ = await shim.StartAsync(id);
        await shim.KillAsync(id, 9);
        _ = await shim.WaitAsync(id);
        _ = await shim.DeleteAsync(id);
        await test.Daemon.Events.ExpectAsync(id, "create", "start", "exit 137", "delete 137");
        Assert.That(test.Daemon.Wires, Is.EqualTo(["grpc"]));
    }

    [Test]
    public async Task EventThatIsRefused_IsGivenUp_AndTheOthersCome()
    {
        await using var test = new ShimV2Fixture();
        test.Daemon.Refusing = seen => seen.Topic == "/tasks/start" ? new Status(StatusCode.InvalidArgument, "not this one") : null;
        test.Daemon.StartTtrpc();
        await using var task = await test.RunAsync("exit 3");
        await test.Daemon.Events.ExpectAsync(task.Id, "create", "exit 3");
    }

    [Test]
    public async Task DaemonThatStarts_RefusesForAWhile_AndIsToldAgain()
    {
        await using var test = new ShimV2Fixture();
        var refusals = 0;
        test.Daemon.Refusing = _ => ++refusals <= 3 ? new Status(StatusCode.Unavailable, "not yet") : null;
        test.Daemon.StartTtrpc();
        await using var task = await test.RunAsync("exit 3");
        await test.Daemon.Events.ExpectAsync(task.Id, "create", "start", "exit 3");
    }

    [Test]
    public async Task DaemonAway_TheShimStillEnds()
    {
        await using var test = new ShimV2Fixture();
        await using var task = await test.RunAsync("exit 3");
        _ = await task.Shim.WaitAsync(task.Id);
        _ = await task.Shim.DeleteAsync(task.Id);
        await task.Shim.ShutdownAsync(task.Id);
        await Poll.Until(() => !HostProcess.Runs(task.ShimPid), Poll.Deadline, "the end of the shim, without its last events");
    }

    private static async Task<TestTask> LiveAsync(ShimV2Fixture test)
    {
        var task = await test.RunAsync();
        await ExecAsync(task, "e1", 1);
        await ExecAsync(task, "e2", 2);
        await task.Shim.KillAsync(task.Id, 9);
        _ = await task.Shim.WaitAsync(task.Id);
        return task;
    }

    private static async Task ExecAsync(TestTask task, string exec, uint status)
    {
        await task.Shim.ExecAsync(task.Id, exec, $"exit {status}");
        _ = await task.Shim.StartAsync(task.Id, exec);
        Assert.That((await task.Shim.WaitAsync(task.Id, exec)).ExitStatus, Is.EqualTo(status));
        _ = await task.Shim.DeleteAsync(task.Id, exec);
    }
}
