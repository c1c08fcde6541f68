using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Processes;

/// <summary>
/// Runs one of <see cref="Probes"/> in a child process: who is subreaper, which signals are ignored and who waits for children
/// belongs to a process as a whole, and a reaper would steal the children of the test platform.
/// </summary>
internal static class Probe
{
    internal static readonly TimeSpan Deadline = TimeSpan.FromSeconds(90);

    /// <summary>Runs a probe and returns the JSON object that it printed.</summary>
    internal static Task<JsonObject> RunAsync(string name, params string[] arguments) => RunUnderAsync([], name, arguments);

    /// <summary>As <see cref="RunAsync"/>, started by another program that ends in an exec of its further arguments.</summary>
    internal static async Task<JsonObject> RunUnderAsync(string[] starter, string name, params string[] arguments)
    {
        string[] command = [.. starter, DotNet, typeof(Probe).Assembly.Location, "probe", name, .. arguments];
        var start = new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start) ?? throw new InvalidOperationException("the probe does not start");
        using var deadline = new CancellationTokenSource(Deadline);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(deadline.Token);
            var errors = process.StandardError.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            Assert.That(process.ExitCode, Is.Zero, $"probe {name} failed: {await errors}{await output}");
            return JsonNode.Parse(await output) as JsonObject ?? throw new AssertionException($"probe {name} printed no object");
        }
        catch (OperationCanceledException)
        {
            throw new AssertionException($"probe {name} did not end within {Deadline.TotalSeconds} s");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }

            foreach (var orphan in HostProcess.Mentioning($"{Marker}={process.Id}"))
            {
                _ = Mono.Unix.Native.Syscall.kill(orphan.Pid, Mono.Unix.Native.Signum.SIGKILL);
            }
        }
    }

    /// <summary>What a probe puts into the arguments of children that would outlive it, so that they are found if it is killed.</summary>
    internal const string Marker = "shim-probe";

    // The program that runs this test, whatever the test platform has started itself with.
    private static string DotNet { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../../dotnet"));
}
