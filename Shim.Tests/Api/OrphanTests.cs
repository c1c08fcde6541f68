using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Api;

/// <summary>In the machine's pid namespace, processes that lose their parent become children of the shim, which must collect them.</summary>
public sealed class OrphanTests : SupervisorTests
{
    [Test]
    public async Task HostPid_FiveThousandOrphans_AllCollected()
    {
        // ( ( sleep & ) ) : the middle shell ends at once, so the innermost process is an orphan when it ends.
        const string Script = "i=0; while [ $i -lt 5000 ]; do ( ( usleep 1000; exit 3 ) & ); i=$((i + 1)); done; wait; exit 21";
        var container = await TestContainer.RunAsync(Supervisor, b => b.HostPid().Script(Script));
        var shim = (int)(await container.InspectAsync()).Shim.Pid;

        // The orphans really go to the shim: without that the test would show nothing.
        var seen = 0;
        while (HostProcess.Runs((int)container.Pid) && seen == 0)
        {
            seen = HostProcess.Children(shim).Count(child => child.Pid != (int)container.Pid);
        }

        Assert.That(seen, Is.GreaterThan(0), "no orphan was ever a child of the shim");
        var exit = await container.WaitAsync(deadline: TimeSpan.FromMinutes(2));
        Assert.That(exit.Status, Is.EqualTo(21u));
        await Poll.For(
            () => HostProcess.Children(shim), children => children.Count == 0, TimeSpan.FromSeconds(10), "the shim has no children left, dead or alive");
    }

    [Test]
    public async Task HostPid_OrphanOfExec_IsCollectedWhileItsSiblingLives()
    {
        var container = await TestContainer.RunAsync(Supervisor, b => b.HostPid());
        var shim = (int)(await container.InspectAsync()).Shim.Pid;
        Assert.That((await container.ShellAsync("sleep 5555 & sleep 0.3 & exit 0")).Status, Is.Zero);
        await Poll.For(
            () => HostProcess.Children(shim),
            children => children.All(c => c.State != 'Z') && children.Any(c => c.CommandLine == "sleep 5555") && children.All(c => c.CommandLine != "sleep 0.3"),
            Poll.Deadline,
            "only the long one is left");
    }
}
