using System.Diagnostics;
using System.Text;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2;

/// <summary>One call of a program, from its start to its end.</summary>
/// <param name="Call">The command line, for messages.</param>
/// <param name="ExitCode">What it exited with.</param>
/// <param name="Bytes">All of its stdout.</param>
/// <param name="Error">All of its stderr.</param>
internal sealed record ProgramRun(string Call, int ExitCode, byte[] Bytes, string Error)
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    /// <summary>Its stdout as text.</summary>
    internal string Output => Encoding.UTF8.GetString(Bytes);

    /// <summary>How a call is started: all streams are pipes.</summary>
    internal static ProcessStartInfo Describe(string program, params IEnumerable<string> arguments) => new(program, arguments)
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        WorkingDirectory = "/",
    };

    /// <summary>Runs it to its end with <paramref name="input"/> on its stdin, which is closed then.</summary>
    internal static async Task<ProgramRun> RunAsync(ProcessStartInfo start, byte[] input)
    {
        var call = $"{Path.GetFileName(start.FileName)} {string.Join(' ', start.ArgumentList)}";
        using var process = Process.Start(start) ?? throw new InvalidOperationException($"{call} does not start");
        using var output = new MemoryStream();
        var copying = process.StandardOutput.BaseStream.CopyToAsync(output);
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            try
            {
                await process.StandardInput.BaseStream.WriteAsync(input);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It has ended without reading.
            }

            await Task.WhenAll(copying, error, process.WaitForExitAsync()).WithinAsync(s_deadline, $"the end of `{call}`");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }

        return new ProgramRun(call, process.ExitCode, output.ToArray(), await error);
    }

    /// <summary>What it printed, when it exited with <paramref name="exitCode"/>; fails otherwise.</summary>
    internal string OutputOf(int exitCode = 0)
    {
        Assert.That(ExitCode, Is.EqualTo(exitCode), () => $"{Call}\nstdout: {Output}\nstderr: {Error}");
        return Output;
    }
}
