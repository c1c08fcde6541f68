using Containerd.Shim.V1;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

/// <summary>
/// Who inherits the protection that a service manager gave the shim. Giving it needs a capability which the development machines lack.
/// </summary>
[Category("VirtualMachine")]
public sealed class OomScoreTests
{
    [Test]
    public async Task ProtectedShim_NeitherRuntimeNorContainerIsProtected()
    {
        Machine.Require(Machine.IsVirtual, "it needs CAP_SYS_RESOURCE (scripts/test-vm.sh runs it)");
        await using var shim = await ShimFixture.StartAsync();
        await File.WriteAllTextAsync(ScoreOf(shim.ProcessId), "-500");
        var seenByHook = shim.PathOf("hook");
        await shim.RunContainerAsync(b => b.HookAfterStart("/bin/sh", "-c", $"cat /proc/self/oom_score_adj >{seenByHook}"));
        var exec = await shim.Client.ExecAsync(new ExecRequest { Args = { "sleep", "1000000" } });
        var init = (await shim.Client.StateAsync(new StateRequest())).InitPid;

        Assert.That(await ReadAsync(ScoreOf((int)init)), Is.EqualTo("0"), "init");
        Assert.That(await ReadAsync(ScoreOf((int)exec.Pid)), Is.EqualTo("0"), "exec");
        Assert.That(await ReadAsync(seenByHook), Is.EqualTo("0"), "a hook, and so the runtime");
        Assert.That(await ReadAsync(ScoreOf(shim.ProcessId)), Is.EqualTo("-500"), "the shim");
    }

    private static string ScoreOf(int pid) => $"/proc/{pid}/oom_score_adj";

    private static async Task<string> ReadAsync(string path) => (await File.ReadAllTextAsync(path)).Trim();
}
