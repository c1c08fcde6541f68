using Containerd.Shim.V1;
using NUnit.Framework;
using Exit = Containerd.V1.Exit;

namespace Shim.Tests.Support;

/// <summary>What tests of a shim alone do all the time, in one line each.</summary>
public static class ShimCalls
{
    /// <summary>Starts a shim with a container that runs; `sleep 1000000` unless the bundle says something else.</summary>
    public static async Task<ShimFixture> StartWithContainerAsync(Func<BundleBuilder, BundleBuilder>? configure = null, params string[] arguments)
    {
        var shim = await ShimFixture.StartAsync(null, arguments);
        await shim.RunContainerAsync(configure);
        return shim;
    }

    /// <summary>Creates and starts the container.</summary>
    public static async Task RunContainerAsync(
        this ShimFixture shim, Func<BundleBuilder, BundleBuilder>? configure = null, Action<CreateRequest>? streams = null)
    {
        ArgumentNullException.ThrowIfNull(shim);
        var bundle = shim.NewBundle();
        var request = new CreateRequest { Id = TestRun.NewName("c"), Bundle = (configure is null ? bundle : configure(bundle)).Write().Path };
        streams?.Invoke(request);
        await shim.Client.CreateAsync(request);
        await shim.Client.StartAsync(new StartRequest());
    }

    /// <summary>A request for a shell that runs a script.</summary>
    public static ExecRequest Shell(string script) => new() { Args = { "sh", "-c", script } };

    /// <summary>Waits for the end of a process; 0 is init.</summary>
    public static async Task<Exit> EndOfAsync(this ShimFixture shim, uint pid, TimeSpan? deadline = null)
    {
        ArgumentNullException.ThrowIfNull(shim);
        return (await shim.Client.WaitAsync(new WaitRequest { Pid = pid }, deadline: DateTime.UtcNow + Patience.Of(deadline ?? SupervisorFixture.CallDeadline))).Exit;
    }

    /// <summary>Forgets an ended process.</summary>
    public static async Task DeleteAsync(this ShimFixture shim, uint pid)
    {
        ArgumentNullException.ThrowIfNull(shim);
        await shim.Client.DeleteAsync(new DeleteRequest { Pid = pid });
    }

    /// <summary>Runs a process to its end, which must be a success unless another status is expected, and forgets it.</summary>
    public static async Task RunAsync(this ShimFixture shim, ExecRequest request, TimeSpan? deadline = null, uint status = 0)
    {
        ArgumentNullException.ThrowIfNull(shim);
        var pid = (await shim.Client.ExecAsync(request)).Pid;
        Assert.That((await shim.EndOfAsync(pid, deadline)).Status, Is.EqualTo(status), $"the status of {request.Args}");
        await shim.DeleteAsync(pid);
    }
}
