using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Faults;

/// <summary>
/// Many clients do what they like with many containers, while the supervisor, shims of both policies and runtimes are killed at random. Nothing
/// is lost, nothing is told twice, nothing is left, and reads stay quick.
/// </summary>
public sealed class LethalChaosTests
{
    [Test]
    public Task EightContainers_SixClients_TenSeconds() => RunAsync(new ChaosPlan(8, 6, TimeSpan.FromSeconds(10)), report: null);

    [Test]
    [Category("Soak")]
    public Task FiftyContainers_TwentyClients_TenMinutes() =>
        RunAsync(new ChaosPlan(50, 20, TimeSpan.FromMinutes(10)), Path.Combine(TestRun.Repository, "out", "test", "chaos.md"));

    private static async Task RunAsync(ChaosPlan plan, string? report)
    {
        await using var supervisor = await SupervisorFixture.StartAsync();
        var run = new ChaosRun(supervisor, plan);
        try
        {
            await run.RunAsync();
        }
        finally
        {
            await TestContext.Out.WriteLineAsync(run.Summary);
            if (report is not null)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(report)!);
                await File.WriteAllTextAsync(report, run.Summary);
            }
        }
    }
}
