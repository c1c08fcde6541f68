extern alias SupervisorAssembly;

using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli.Parsing;

namespace Shim.Tests.Cli;

public sealed class SignalNamesTests
{
    [TestCase("TERM", 15)]
    [TestCase("SIGTERM", 15)]
    [TestCase("sigterm", 15)]
    [TestCase("kill", 9)]
    [TestCase("Hup", 1)]
    [TestCase("CHLD", 17)]
    [TestCase("CLD", 17)]
    [TestCase("IOT", 6)]
    [TestCase("SYS", 31)]
    [TestCase("1", 1)]
    [TestCase("64", 64)]
    [TestCase("32", 32)]
    [TestCase("RTMIN", 34)]
    [TestCase("SIGRTMIN+3", 37)]
    [TestCase("rtmin+30", 64)]
    [TestCase("RTMAX", 64)]
    [TestCase("RTMAX-30", 34)]
    public void Parse_Known_Number(string text, int expected) => Assert.That(SignalNames.Parse(text), Is.EqualTo(expected));

    [TestCase("")]
    [TestCase("SIG")]
    [TestCase("0")]
    [TestCase("65")]
    [TestCase("-9")]
    [TestCase("+9")]
    [TestCase(" 9")]
    [TestCase("NOPE")]
    [TestCase("RTMIN+31")]
    [TestCase("RTMIN-1")]
    [TestCase("RTMAX+1")]
    [TestCase("RTMAX-31")]
    [TestCase("RTMIN+")]
    [TestCase("99999999999")]
    public void Parse_Unknown_Null(string text) => Assert.That(SignalNames.Parse(text), Is.Null);

    [Test]
    public void Format_EverySignal_ParsesBack() =>
        Assert.That(Enumerable.Range(1, 64).Select(signal => SignalNames.Parse(SignalNames.Format((uint)signal))), Is.EqualTo(Enumerable.Range(1, 64)));

    [TestCase(9u, "SIGKILL")]
    [TestCase(34u, "SIGRTMIN")]
    [TestCase(40u, "SIGRTMIN+6")]
    [TestCase(32u, "32")]
    [TestCase(99u, "99")]
    public void Format_Number_Name(uint signal, string expected) => Assert.That(SignalNames.Format(signal), Is.EqualTo(expected));

    /// <summary>The table is ours; the kernel's header has the last word.</summary>
    [Test]
    public void Parse_NamesOfTheShell_SameNumbers()
    {
        using var shell = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("/bin/bash", ["-c", "for i in $(seq 1 31) 34 40 50 64; do echo $i $(kill -l $i); done"]) { RedirectStandardOutput = true })!;
        foreach (var line in shell.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var words = line.Split(' ');
            Assert.That(SignalNames.Parse(words[1]), Is.EqualTo(int.Parse(words[0], System.Globalization.CultureInfo.InvariantCulture)), line);
        }

        shell.WaitForExit();
    }
}
