using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Containerd.Runc.V1;
using Containerd.TaskApi.V2;
using Containerd.Types;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using Status = Containerd.TaskApi.Status;

namespace Shim.Tests.ShimV2.Direct;

/// <summary>Containers go to disk and come back, with the real runtime and CRIU: only the machine of scripts/test-vm.sh has a kernel on which that works.</summary>
[Category("VirtualMachine")]
public sealed class CriuTests
{
    // Ends with 7 when it is asked to.
    private const string Counter = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done";
    private const string Restored = "restored";

    // A dump or a restoration takes a few seconds there, and more on a busy machine.
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);

    private ShimV2Fixture _test = null!;

    private string Image => _test.PathOf("image");

    [SetUp]
    public void SetUp()
    {
        Machine.Require(Machine.IsVirtual && Machine.FindInPath("criu") is not null, "it needs a kernel on which CRIU works (scripts/test-vm.sh has one)");
        _test = new ShimV2Fixture();
        _test.Daemon.StartTtrpc();
    }

    [TearDown]
    public async Task TearDownAsync()
    {
        if (_test is not null)
        {
            await _test.DisposeAsync();
        }
    }

    [Test]
    public async Task Checkpoint_WithoutExit_GoesOn()
    {
        using var output = new FifoReader(_test.PathOf("out"));
        await using var task = await _test.RunAsync(Counter, request: request => request.Stdout = output.Path);
        await output.WaitForTextAsync("\n3\n", s_deadline);
        await task.Shim.CheckpointAsync(task.Id, Image);
        Assert.That(File.Exists($"{Image}/inventory.img"), Is.True);
        Assert.That(Directory.GetFileSystemEntries(task.Bundle.Path, "criu*"), Is.Empty, "logs of a success");
        await GoesOnAsync(task, output);
        await EndAsync(task.Shim, task.Id, task.Pid);
        Assert.That(Numbers(await output.ReadTextAsync(s_deadline)), Is.EqualTo(Enumerable.Range(1, Numbers(output.Text).Count)), "nothing lost, nothing twice");
        await _test.Daemon.Events.ExpectAsync(task.Id, "create", "start", "checkpointed", "exit 7", "delete 7");
        Assert.That(_test.Daemon.Events.All.Single(seen => seen.Topic == "/tasks/checkpointed").Path, Is.EqualTo(Image));
    }

    [Test]
    public async Task Restore_InANewContainer_GoesOnWhereItStopped()
    {
        using var before = new FifoReader(_test.PathOf("before"));
        await using var task = await _test.RunAsync(Counter, request: request => request.Stdout = before.Path);
        await before.WaitForTextAsync("\n3\n", s_deadline);
        await DumpAsync(task);
        Assert.That(_test.Daemon.Events.Of(task.Id).Count(brief => brief.StartsWith("exit", StringComparison.Ordinal)), Is.EqualTo(1));
        var last = Numbers(await before.ReadTextAsync(s_deadline))[^1];

        using var after = new FifoReader(_test.PathOf("after"));
        var (shim, bundle) = (task.Shim, _test.NewBundle(builder => builder.Script("exit 1")));
        Assert.That(await shim.CreateAsync(Request(bundle, request => request.Stdout = after.Path)), Is.Zero, "it has no process yet");
        var waiting = shim.WaitAsync(Restored);
        await HasNoProcessAsync(shim);

        var pid = await shim.StartAsync(Restored);
        Assert.That(HostProcess.Runs(pid), Is.True);
        await after.WaitForTextAsync("\n", s_deadline);
        Assert.That(Numbers(after.Text)[0], Is.EqualTo(last + 1));
        var state = await shim.StateAsync(Restored);
        Assert.That((state.Status, state.Pid, state.Stdout), Is.EqualTo((Status.Running, (uint)pid, after.Path)));
        Assert.That((await shim.ConnectAsync(Restored)).TaskPid, Is.EqualTo((uint)pid));
        Assert.That((await shim.PidsAsync(Restored)).Processes.Select(process => process.Pid), Does.Contain((uint)pid));
        Assert.That(await File.ReadAllTextAsync($"/proc/{pid}/cgroup"), Does.Contain($"/{bundle.Cgroup}\n"), "its own cgroup, and not that of the other");
        await TaskClient.RefusedAsync(shim.StartAsync(Restored), StatusCode.FailedPrecondition, "running");

        await shim.ExecAsync(Restored, "e1", "exit 4");
        _ = await shim.StartAsync(Restored, "e1");
        Assert.That((await shim.WaitAsync(Restored, "e1")).ExitStatus, Is.EqualTo(4u));
        await EndAsync(shim, Restored, pid);
        Assert.That((await waiting).ExitStatus, Is.EqualTo(7u), "waited for from its creation on");
        Assert.That(Directory.Exists($"/sys/fs/cgroup/{bundle.Cgroup}"), Is.False);
        await _test.Daemon.Events.ExpectAsync(Restored, "create", "start", "exec-added e1", "exec-started e1", "exit e1 4", "exit 7", "delete 7");
        var seen = _test.Daemon.Events.All.Where(seen => seen.Container == Restored).ToList();
        Assert.That((seen[0].Pid, seen[0].Path, seen[1].Pid, seen[^1].Pid), Is.EqualTo((0u, Image, (uint)pid, (uint)pid)));
    }

    [Test]
    public async Task Restore_WhileTheOtherRuns_TheyAreTwo()
    {
        using var first = new FifoReader(_test.PathOf("first"));
        using var second = new FifoReader(_test.PathOf("second"));
        await using var task = await _test.RunAsync(Counter, request: request => request.Stdout = first.Path);
        await task.Shim.CheckpointAsync(task.Id, Image);
        _ = await task.Shim.CreateAsync(Request(_test.NewBundle(), request => request.Stdout = second.Path));
        var pid = await task.Shim.StartAsync(Restored);
        await second.WaitForTextAsync("\n", s_deadline);
        Assert.That((await task.Shim.PidsAsync(task.Id)).Processes.Select(process => process.Pid), Does.Not.Contain((uint)pid));
        await task.Shim.KillAsync(Restored, 9, all: true);
        Assert.That((await task.Shim.WaitAsync(Restored)).ExitStatus, Is.EqualTo(137u));
        _ = await task.Shim.DeleteAsync(Restored);
        await GoesOnAsync(task, first);
    }

    [Test]
    public async Task Restore_Streams_AreThoseOfTheNewContainer()
    {
        const string Script = "n=0; while read line; do n=$((n+1)); echo $n $line; done; echo end >&2; exit 5";
        var stdin = Fifo.Create(_test.PathOf("in"));
        using var before = new FifoReader(_test.PathOf("before"));
        await using var task = await _test.RunAsync(Script, request: request => (request.Stdin, request.Stdout) = (stdin, before.Path));
        using var writer = await FifoWriter.OpenAsync(stdin, s_deadline);
        await writer.WriteAsync("a\n", s_deadline);
        await before.WaitForTextAsync("1 a\n", s_deadline);
        await DumpAsync(task);

        using var output = new FifoReader(_test.PathOf("out"));
        using var errors = new FifoReader(_test.PathOf("err"));
        var input = Fifo.Create(_test.PathOf("in2"));

        // It had no stderr before, and gets none now: that is no FIFO, and stays as it was.
        _ = await task.Shim.CreateAsync(Request(_test.NewBundle(), request => (request.Stdin, request.Stdout, request.Stderr) = (input, output.Path, errors.Path)));
        _ = await task.Shim.StartAsync(Restored);
        using (var other = await FifoWriter.OpenAsync(input, s_deadline))
        {
            await other.WriteAsync("b\n", s_deadline);
            await output.WaitForTextAsync("2 b\n", s_deadline);
        }

        // The last writer has left: that is the end, as of any stdin.
        Assert.That((await task.Shim.WaitAsync(Restored)).ExitStatus, Is.EqualTo(5u));
        _ = await task.Shim.DeleteAsync(Restored);
        Assert.That(await output.ReadTextAsync(s_deadline), Is.EqualTo("2 b\n"));
    }

    [TestCase("file")]
    [TestCase("log")]
    [TestCase("terminal")]
    public async Task Restore_OutputOfEveryKind_GoesOn(string kind)
    {
        using var before = kind == "terminal" ? new FifoReader(_test.PathOf("before")) : null;
        using var after = kind == "terminal" ? new FifoReader(_test.PathOf("after")) : null;
        await using var task = await _test.RunAsync(
            Counter, request: request => (request.Stdout, request.Terminal) = (Address("before"), kind == "terminal"), bundle: builder => builder.Terminal(kind == "terminal"));
        _ = await Poll.For(() => Written("before"), written => written.Count > 2, s_deadline, "three lines");
        await DumpAsync(task);
        var last = Written("before")[^1];
        _ = await task.Shim.CreateAsync(Request(
            _test.NewBundle(builder => builder.Terminal(kind == "terminal")), request => (request.Stdout, request.Terminal) = (Address("after"), kind == "terminal")));
        var pid = await task.Shim.StartAsync(Restored);
        var written = await Poll.For(() => Written("after"), written => written.Count > 1, s_deadline, "its next lines");
        Assert.That(written[0], Is.EqualTo(last + 1));
        await EndAsync(task.Shim, Restored, pid);

        string Address(string name) => kind switch
        {
            "terminal" => _test.PathOf(name),
            "log" => $"log://{_test.PathOf(name)}",
            _ => $"file://{_test.PathOf(name)}",
        };

        IReadOnlyList<int> Written(string name) => Numbers(
            kind == "terminal" ? (name == "before" ? before! : after!).Text : File.Exists(_test.PathOf(name)) ? File.ReadAllText(_test.PathOf(name)) : "");
    }

    [Test]
    public async Task Restore_BrokenImage_Refused_AndNothingIsLeft()
    {
        await using var task = await _test.RunAsync();
        Directory.CreateDirectory(Image);
        await File.WriteAllTextAsync($"{Image}/descriptors.json", """["/dev/null","/dev/null","/dev/null"]""");
        await File.WriteAllTextAsync($"{Image}/inventory.img", "this is none");
        var bundle = _test.NewBundle(builder => builder.Rootfs("rootfs", readOnly: true));
        var mounted = $"{bundle.Path}/rootfs/bin/busybox";
        var (shim, create) = (task.Shim, Request(bundle, request => request.Rootfs.Add(new Mount { Type = "bind", Source = BusyboxRootfs.Path, Options = { "rbind", "ro" } })));
        Assert.That(await shim.CreateAsync(create), Is.Zero);
        Assert.That(File.Exists(mounted), Is.True, "between creation and start containerd unpacks what else the container had written");
        for (var attempt = 0; attempt < 2; attempt++)
        {
            await TaskClient.RefusedAsync(shim.StartAsync(Restored), StatusCode.FailedPrecondition, "Magic doesn't match for inventory.img");
            await HasNoProcessAsync(shim);
            Assert.That(Directory.Exists($"/run/containerd/runc/{_test.Namespace}/{Restored}"), Is.False);
            Assert.That(Directory.Exists($"/sys/fs/cgroup/{bundle.Cgroup}"), Is.False);
        }

        Assert.That(await File.ReadAllTextAsync($"{bundle.Path}/criu-restore.log"), Does.Contain("inventory.img"));
        Assert.That(Directory.Exists($"{bundle.Path}/criu-work"), Is.False);
        var deleted = await shim.DeleteAsync(Restored);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo((0u, 0u)));
        Assert.That(File.Exists(mounted), Is.False);
        await _test.Daemon.Events.ExpectAsync(Restored, "create", "delete 0");

        create.Checkpoint = "";
        var pid = await shim.CreateAsync(create);
        Assert.That(pid, Is.Positive, "the name is free again");
        Assert.That(await shim.StartAsync(Restored), Is.EqualTo(pid));
        await shim.KillAsync(Restored, 9);
        _ = await shim.WaitAsync(Restored);
        _ = await shim.DeleteAsync(Restored);
    }

    [Test]
    public async Task Delete_BeforeTheRestoration_EndsTheWaitingForIt()
    {
        await using var task = await _test.RunAsync();
        var create = Request(_test.NewBundle());
        await TaskClient.RefusedAsync(task.Shim.CreateAsync(create), StatusCode.InvalidArgument, Image);
        Directory.CreateDirectory(Image);
        Assert.That(await task.Shim.CreateAsync(create), Is.Zero);
        await TaskClient.RefusedAsync(task.Shim.CreateAsync(create), StatusCode.AlreadyExists, Restored);
        var waiting = task.Shim.WaitAsync(Restored);
        var deleted = await task.Shim.DeleteAsync(Restored);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo((0u, 0u)));
        await TaskClient.RefusedAsync(waiting, StatusCode.NotFound, Restored);
        await TaskClient.RefusedAsync(task.Shim.StartAsync(Restored), StatusCode.NotFound);
        await _test.Daemon.Events.ExpectAsync(Restored, "create", "delete 0");
    }

    [Test]
    public async Task Checkpoint_WhatCriuDoesNotDump_RefusedInItsWords_AndGoesOn()
    {
        using var output = new FifoReader(_test.PathOf("out"));

        // The machine has no network but its loopback.
        var port = FreePort();
        await using var task = await _test.RunAsync($"sleep 1000000 | nc -l -p {port} & {Counter}", request: request => request.Stdout = output.Path);
        using var peer = await Poll.For(() => ConnectAsync(port), _ => true, s_deadline, "somebody who listens");
        var words = await TaskClient.RefusedAsync(task.Shim.CheckpointAsync(task.Id, Image), StatusCode.FailedPrecondition, "Connected TCP socket");
        Assert.That(words, Does.Contain(task.Id).And.Contain($"{task.Bundle.Path}/criu-dump.log"));
        Assert.That(File.Exists($"{task.Bundle.Path}/criu-dump.log"), Is.True);
        Assert.That(Directory.Exists(Image), Is.False, "half an image");
        Assert.That(Directory.Exists($"{task.Bundle.Path}/criu-work"), Is.False);
        await GoesOnAsync(task, output);
        await EndAsync(task.Shim, task.Id, task.Pid);
        await _test.Daemon.Events.ExpectAsync(task.Id, "create", "start", "exit 7", "delete 7");
    }

    [Test]
    public async Task Checkpoint_Paused_StaysPaused()
    {
        using var output = new FifoReader(_test.PathOf("out"));
        await using var task = await _test.RunAsync(Counter, request: request => request.Stdout = output.Path);
        await output.WaitForTextAsync("\n3\n", s_deadline);
        await task.Shim.PauseAsync(task.Id);
        await task.Shim.CheckpointAsync(task.Id, Image);
        Assert.That((await task.Shim.StateAsync(task.Id)).Status, Is.EqualTo(Status.Paused));
        Assert.That((await File.ReadAllTextAsync($"/sys/fs/cgroup/{task.Bundle.Cgroup}/cgroup.events")).Split('\n'), Does.Contain("frozen 1"));
        await task.Shim.ResumeAsync(task.Id);
        await GoesOnAsync(task, output);
        await _test.Daemon.Events.ExpectAsync(task.Id, "create", "start", "paused", "checkpointed", "resumed");
    }

    [Test]
    public async Task Delete_AfterTheLossOfTheShim_FindsTheRestoredProcess()
    {
        await using var task = await _test.RunAsync(Counter);
        await DumpAsync(task);
        _ = await task.Shim.DeleteAsync(task.Id);
        var bundle = _test.NewBundle();
        _ = await task.Shim.CreateAsync(Request(bundle));
        var pid = await task.Shim.StartAsync(Restored);
        await task.KillShimAsync();
        Assert.That(HostProcess.Runs(pid), Is.True);
        var deleted = await _test.DeleteAsync(Restored, bundle.Path);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo(((uint)pid, 137u)));
        Assert.That(HostProcess.Runs(pid), Is.False);
        Assert.That(Directory.Exists($"/sys/fs/cgroup/{bundle.Cgroup}"), Is.False);

        // The socket is found by the bundle that the shim was started in.
        _ = await _test.DeleteAsync(task.Id, task.Bundle.Path);
    }

    // Whole lines only; those of a log have more before the text.
    private static IReadOnlyList<int> Numbers(string text) =>
    [
        .. text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.Parse(line.TrimEnd('\r').Split(' ')[^1], CultureInfo.InvariantCulture)),
    ];

    private static async Task GoesOnAsync(TestTask task, FifoReader output)
    {
        var state = await task.Shim.StateAsync(task.Id);
        Assert.That((state.Status, state.Pid), Is.EqualTo((Status.Running, (uint)task.Pid)));
        var seen = output.Count;
        await Poll.Until(() => output.Count > seen, s_deadline, $"more output of {task.Id}");
    }

    private static async Task HasNoProcessAsync(TaskClient shim)
    {
        var state = await shim.StateAsync(Restored);
        Assert.That((state.Status, state.Pid), Is.EqualTo((Status.Created, 0u)));
        Assert.That((await shim.PidsAsync(Restored)).Processes, Is.Empty);
        await TaskClient.RefusedAsync(shim.KillAsync(Restored, 9), StatusCode.FailedPrecondition, "not restored");
        await TaskClient.RefusedAsync(shim.KillAsync(Restored, 9, all: true), StatusCode.FailedPrecondition, "not restored");
        await TaskClient.RefusedAsync(shim.ExecAsync(Restored, "e1", "true"), StatusCode.FailedPrecondition, "not restored");
        await TaskClient.RefusedAsync(shim.PauseAsync(Restored), StatusCode.FailedPrecondition, "not restored");
        await TaskClient.RefusedAsync(shim.StatsAsync(Restored), StatusCode.FailedPrecondition);
        await shim.ResizeAsync(Restored, "", 80, 25);
        await shim.ShutdownAsync(Restored);
        Assert.That((await shim.ConnectAsync(Restored)).TaskPid, Is.Zero);
    }

    private static async Task EndAsync(TaskClient shim, string id, int pid)
    {
        await shim.KillAsync(id, 15);
        Assert.That((await shim.WaitAsync(id)).ExitStatus, Is.EqualTo(7u));
        var deleted = await shim.DeleteAsync(id);
        Assert.That((deleted.Pid, deleted.ExitStatus), Is.EqualTo(((uint)pid, 7u)));
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static async Task<TcpClient> ConnectAsync(int port)
    {
        var client = new TcpClient();
        try
        {
            await client.ConnectAsync(IPAddress.Loopback, port);
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    private CreateTaskRequest Request(Bundle bundle, Action<CreateTaskRequest>? configure = null)
    {
        var request = new CreateTaskRequest { Id = Restored, Bundle = bundle.Path, Checkpoint = Image };
        configure?.Invoke(request);
        return request;
    }

    private async Task DumpAsync(TestTask task, CheckpointOptions? options = null)
    {
        await task.Shim.CallAsync(
            "Checkpoint",
            new CheckpointTaskRequest { Id = task.Id, Path = Image, Options = ShimV2Fixture.Pack(options ?? new CheckpointOptions { Exit = true }) },
            Empty.Parser);
        Assert.That((await task.Shim.WaitAsync(task.Id)).ExitStatus, Is.EqualTo(137u), "CRIU has killed it");
        Assert.That((await task.Shim.StateAsync(task.Id)).Status, Is.EqualTo(Status.Stopped));
    }
}
