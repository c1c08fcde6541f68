using System.Net.Sockets;
using Containerd.Shim.V1;
using Containerd.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using InfoRequest = Containerd.V1.InfoRequest;
using Process = System.Diagnostics.Process;

namespace Shim.Tests.EndToEnd;

/// <summary>Descriptors and processes run out: refused in words, nothing spins, nothing is left, and all is well when there are some again.</summary>
public sealed class LimitTests : SupervisorTests
{
    private const string Paused = "no connection can be accepted for now";
    private const string Resumed = "connections are accepted again";

    [Test]
    public async Task Supervisor_DescriptorsRunOut_WaitsAndRecovers()
    {
        Machine.RequireProgram("prlimit");
        var container = await TestContainer.RunAsync(Supervisor);
        var pid = Supervisor.ProcessId;
        var before = SoftLimit(pid);
        var clients = new List<Socket>();
        try
        {
            SetLimit(pid, ProcessCost.Descriptors(pid) + 8);
            clients.AddRange(Connect(Supervisor.Socket, 40));
            await Poll.Until(() => Supervisor.Log.Contains(Paused, StringComparison.Ordinal), Poll.Deadline, "a line in the log");
            var cpu = ProcessCost.Cpu(pid);
            await Task.Delay(2000);
            Assert.That(ProcessCost.Cpu(pid) - cpu, Is.LessThan(TimeSpan.FromSeconds(0.5)), "nothing spins");

            // Who is connected is served, and told.
            Assert.That((await Supervisor.Control.InfoAsync(new InfoRequest())).Degraded, Has.Some.Contains(Paused));
            Assert.That(await container.StatusAsync(), Is.EqualTo(Containerd.V1.Status.Running));
            var message = await Refusal.ExpectAsync(
                Supervisor.Containers.CreateContainerAsync(new CreateContainerRequest { Id = "refused", BundlePath = Supervisor.NewBundle().Write().Path }),
                StatusCode.ResourceExhausted);
            Assert.That(message, Does.Contain("oo many open files"));
            Assert.That(Path.Exists(Path.Combine(Supervisor.Root, "c", "refused")), Is.False);
        }
        finally
        {
            SetLimit(pid, before);
            clients.ForEach(client => client.Dispose());
        }

        await Poll.Until(() => Supervisor.Log.Contains(Resumed, StringComparison.Ordinal), Poll.Deadline, "another line in the log");
        await Poll.Until(async () => (await Supervisor.Control.InfoAsync(new InfoRequest())).Degraded.Count == 0, Poll.Deadline, "nothing degraded");
        await (await TestContainer.RunAsync(Supervisor, id: "refused")).DeleteAsync();
    }

    [Test]
    public async Task Shim_DescriptorsRunOut_ExecsAreRefusedAndTheContainerIsUnharmed()
    {
        Machine.RequireProgram("prlimit");
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var before = SoftLimit(shim.ProcessId);
        var clients = new List<Socket>();
        try
        {
            SetLimit(shim.ProcessId, ProcessCost.Descriptors(shim.ProcessId) + 4);
            clients.AddRange(Connect(shim.Socket, 20));
            await Poll.Until(() => shim.Log.Contains(Paused, StringComparison.Ordinal), Poll.Deadline, "a line in the log");
            var cpu = ProcessCost.Cpu(shim.ProcessId);
            await Task.Delay(2000);
            Assert.That(ProcessCost.Cpu(shim.ProcessId) - cpu, Is.LessThan(TimeSpan.FromSeconds(0.5)), "nothing spins");
            var message = await Refusal.ExpectAsync(shim.Client.ExecAsync(ShimCalls.Shell("true")), StatusCode.ResourceExhausted);
            Assert.That(message, Does.Contain("oo many open files"));
            var state = await shim.Client.StateAsync(new StateRequest());
            Assert.That((state.Status, state.Processes.Count), Is.EqualTo((State.Running, 1)));
            Assert.That(state.Sequence, Is.EqualTo(2ul), "no event of what was refused");
        }
        finally
        {
            SetLimit(shim.ProcessId, before);
            clients.ForEach(client => client.Dispose());
        }

        await Poll.Until(() => shim.Log.Contains(Resumed, StringComparison.Ordinal), Poll.Deadline, "another line in the log");
        await shim.RunAsync(ShimCalls.Shell("exit 3"), status: 3);
    }

    [Test]
    public async Task Shim_NoMoreProcesses_ExecsAreRefusedAndTheContainerIsUnharmed()
    {
        Machine.Require(Directory.Exists("/sys/fs/cgroup/pids"), "needs the pids controller of cgroup v1");
        await using var shim = await ShimCalls.StartWithContainerAsync();

        // .NET's thread pool ends the process when it cannot make a thread that it wants: the shim has those of a moment's work first.
        for (var i = 0; i < 5; i++)
        {
            await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => shim.Client.DumpAsync(new DumpRequest()).ResponseAsync));
        }

        var cgroup = $"/sys/fs/cgroup/pids/{TestRun.CgroupPrefix}-limit";
        var parent = $"/sys/fs/cgroup/pids{File.ReadLines($"/proc/{shim.ProcessId}/cgroup").First(line => line.Contains(":pids:", StringComparison.Ordinal)).Split(':')[2]}";
        Directory.CreateDirectory(cgroup);
        try
        {
            await File.WriteAllTextAsync($"{cgroup}/cgroup.procs", $"{shim.ProcessId}");
            await File.WriteAllTextAsync($"{cgroup}/pids.max", "1");
            for (var i = 0; i < 3; i++)
            {
                var outcome = await Refusal.OutcomeAsync(shim.Client.ExecAsync(ShimCalls.Shell("true")));
                Assert.That(outcome.StatusCode, Is.EqualTo(StatusCode.ResourceExhausted), $"{outcome.Detail}\n{shim.Log}");
                Assert.That(outcome.Detail, Does.Contain("temporarily unavailable"));
            }

            await File.WriteAllTextAsync($"{cgroup}/pids.max", "max");
            await shim.RunAsync(ShimCalls.Shell("exit 3"), status: 3);
        }
        finally
        {
            await File.WriteAllTextAsync($"{cgroup}/pids.max", "max");
            await File.WriteAllTextAsync($"{parent}/cgroup.procs", $"{shim.ProcessId}");
            await Poll.Until(() => Mono.Unix.Native.Syscall.rmdir(cgroup) == 0, Poll.Deadline, "the cgroup is empty");
        }
    }

    private static List<Socket> Connect(string path, int count) => [.. Enumerable.Range(0, count).Select(_ =>
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        return socket;
    })];

    private static int SoftLimit(int pid) => int.Parse(
        File.ReadLines($"/proc/{pid}/limits").First(line => line.StartsWith("Max open files", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[3]);

    private static void SetLimit(int pid, int soft)
    {
        using var process = Process.Start("prlimit", [$"--pid={pid}", $"--nofile={soft}:"]);
        Assert.That(process.WaitForExit(10_000) && process.ExitCode == 0, Is.True, "prlimit");
    }
}
