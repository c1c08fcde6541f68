using NUnit.Framework;
using NUnit.Framework.Interfaces;

namespace Shim.Tests.Support;

/// <summary>
/// Tests that share one supervisor. After each test all containers are deleted and nothing may be left of them; after a failure
/// the logs are shown.
/// </summary>
public abstract class SupervisorTests
{
    private SupervisorFixture? _supervisor;

    /// <summary>The supervisor of this class.</summary>
    protected SupervisorFixture Supervisor => _supervisor ?? throw new InvalidOperationException("the supervisor was not started");

    /// <summary>How this class wants its supervisor.</summary>
    protected virtual SupervisorSettings Settings => new();

    [OneTimeSetUp]
    public async Task StartSupervisor() => _supervisor = await SupervisorFixture.StartAsync(Settings);

    [TearDown]
    public async Task LeaveNothingBehind()
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Failed)
        {
            Supervisor.ShowLogs();
        }

        if (!Supervisor.IsRunning)
        {
            await Supervisor.StartAgainAsync();
        }

        await Supervisor.AssertNothingLeftAsync(await Supervisor.DeleteAllAsync());
    }

    [OneTimeTearDown]
    public async Task StopSupervisor()
    {
        if (_supervisor is not null)
        {
            await _supervisor.DisposeAsync();
        }
    }
}
