using System.Diagnostics;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Cli;

/// <summary>One call of the client, `out/bin/supervisor`, against a running supervisor.</summary>
/// <param name="ExitCode">What it exited with.</param>
/// <param name="Output">All of its stdout.</param>
/// <param name="Error">All of its stderr.</param>
internal sealed record CliRun(int ExitCode, string Output, string Error)
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    internal static string Client => Path.Combine(TestRun.Binaries, "supervisor");

    /// <summary>Runs it to its end, with <paramref name="input"/> on its stdin.</summary>
    internal static async Task<CliRun> RunAsync(SupervisorFixture supervisor, string input, params string[] arguments)
    {
        using var process = Start(supervisor, arguments);
        return await EndAsync(process, input, arguments);
    }

    /// <summary>Starts it, with all three streams as pipes.</summary>
    internal static Process Start(SupervisorFixture supervisor, params string[] arguments) => Start(supervisor, Client, arguments);

    /// <summary>Starts a program that calls it: the socket is in the environment, the client's path is $SUPERVISOR.</summary>
    internal static Process Start(SupervisorFixture supervisor, string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        start.Environment["SUPERVISOR_SOCKET"] = supervisor.Socket;
        start.Environment["SUPERVISOR"] = Client;
        return Process.Start(start) ?? throw new InvalidOperationException($"{program} does not start");
    }

    /// <summary>Feeds it, reads all it says and waits for its end.</summary>
    internal static async Task<CliRun> EndAsync(Process process, string input, params string[] arguments)
    {
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // It has ended without reading, or the test has closed it already.
        }

        try
        {
            await Task.WhenAll(output, error, process.WaitForExitAsync()).WithinAsync(s_deadline, $"the end of `supervisor {string.Join(' ', arguments)}`");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }

        return new CliRun(process.ExitCode, await output, await error);
    }

    /// <summary>What it printed, when it exited with <paramref name="exitCode"/>; fails otherwise.</summary>
    internal string OutputOf(int exitCode = 0)
    {
        Assert.That(ExitCode, Is.EqualTo(exitCode), () => $"stdout: {Output}\nstderr: {Error}");
        return Output;
    }

    /// <summary>What it complained of, when it exited with <paramref name="exitCode"/>; fails otherwise.</summary>
    internal string ErrorOf(int exitCode)
    {
        Assert.That(ExitCode, Is.EqualTo(exitCode), () => $"stdout: {Output}\nstderr: {Error}");
        return Error;
    }
}
