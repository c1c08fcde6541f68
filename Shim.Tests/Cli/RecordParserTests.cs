extern alias SupervisorAssembly;

using System.Text;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli.Logs;

namespace Shim.Tests.Cli;

public sealed class RecordParserTests
{
    private const string Time = "2026-11-24T10:00:00.123456789Z";

    [TestCase($"{Time} stdout F text", "Stdout", "text", true)]
    [TestCase($"{Time} stderr F text with spaces ", "Stderr", "text with spaces ", true)]
    [TestCase($"{Time} stdout P half", "Stdout", "half", false)]
    [TestCase($"{Time} stdout F ", "Stdout", "", true)]
    [TestCase($"{Time} stdout F", "Stdout", "", true)]
    [TestCase($"{Time} stdout F:tag text", "Stdout", "text", true)]
    [TestCase($"{Time} stdout F  F ", "Stdout", " F ", true)]
    [TestCase($"{Time} stdout F ü\0\r\x1b", "Stdout", "ü\0\r\x1b", true)]
    public void Cri_Record_IsTakenApart(string line, string stream, string text, bool endsLine) =>
        Assert.That(Parse(RecordFormat.Cri, line), Is.EqualTo((stream, Time, text, endsLine)));

    [TestCase("")]
    [TestCase("text")]
    [TestCase($"{Time}")]
    [TestCase($"{Time} ")]
    [TestCase($"{Time} stdout")]
    [TestCase($"{Time} stdout ")]
    [TestCase($"{Time} stdio F text")]
    [TestCase($"{Time} stdout X text")]
    [TestCase($"{Time} stdout Full text")]
    [TestCase($" {Time} stdout F text")]
    public void Cri_OtherLine_IsRefused(string line) => Assert.That(Parse(RecordFormat.Cri, line), Is.Null);

    [TestCase($$"""{"log":"text\n","stream":"stdout","time":"{{Time}}"}""", "Stdout", "text", true)]
    [TestCase($$"""{"log":"text","stream":"stderr","time":"{{Time}}"}""", "Stderr", "text", false)]
    [TestCase($$"""{"log":"\n","stream":"stdout","time":"{{Time}}"}""", "Stdout", "", true)]
    [TestCase($$"""{"log":"","stream":"stdout","time":"{{Time}}"}""", "Stdout", "", false)]
    [TestCase($$"""{"log":"a\"b\\c\u0000\t\u00fc\ud83d\ude00ä\n","stream":"stdout","time":"{{Time}}"}""", "Stdout", "a\"b\\c\0\tü😀ä", true)]
    [TestCase($$"""{"log":"two\nlines\n","stream":"stdout","time":"{{Time}}"}""", "Stdout", "two\nlines", true)]
    [TestCase($$"""{"stream":"stderr","attrs":{"a":["b",1]},"time":"{{Time}}","log":"x\n"}""", "Stderr", "x", true)]
    public void DockerJson_Record_IsTakenApart(string line, string stream, string text, bool endsLine) =>
        Assert.That(Parse(RecordFormat.DockerJson, line), Is.EqualTo((stream, Time, text, endsLine)));

    [TestCase("")]
    [TestCase("text")]
    [TestCase("[]")]
    [TestCase("{}")]
    [TestCase($$"""{"log":"text\n","stream":"stdout"}""")]
    [TestCase($$"""{"log":"text\n","time":"{{Time}}"}""")]
    [TestCase($$"""{"stream":"stdout","time":"{{Time}}"}""")]
    [TestCase($$"""{"log":1,"stream":"stdout","time":"{{Time}}"}""")]
    [TestCase($$"""{"log":"text\n","stream":"stdout","time":"{{Time}}" """)]
    [TestCase($$"""{"log":"te""")]
    [TestCase($$"""{"log":"\ud83d","stream":"stdout","time":"{{Time}}"}""")]
    [TestCase($$"""{"log":"x","stream":"stdout","time":"{{Time}}"}{}""")]
    public void DockerJson_OtherLine_IsRefused(string line) => Assert.That(Parse(RecordFormat.DockerJson, line), Is.Null);

    [TestCase("", "None", "/dev/null", "Cri")]
    [TestCase("/dev/null", "None", "/dev/null", "Cri")]
    [TestCase("/no/such/file", "File", "/no/such/file", "Cri")]
    [TestCase("/with://in it?a=b", "File", "/with://in it?a=b", "Cri")]
    [TestCase("file:///var/a%20b%3F", "File", "/var/a b?", "Cri")]
    [TestCase("log:///var/x.log", "Log", "/var/x.log", "Cri")]
    [TestCase("log:///var/x.log?max-size=1m&format=docker-json", "Log", "/var/x.log", "DockerJson")]
    [TestCase("log:///var/x.log?format=cri", "Log", "/var/x.log", "Cri")]
    [TestCase("fifo:///run/out?on-disconnect=hangup", "Fifo", "/run/out", "Cri")]
    [TestCase("binary:///usr/bin/logger?tag=x", "Logger", "/usr/bin/logger", "Cri")]
    public void Address_EveryKind_IsUnderstood(string address, string kind, string path, string format)
    {
        var output = OutputAddress.Parse(address);

        Assert.That((output.Kind.ToString(), output.Path, output.Format.ToString()), Is.EqualTo((kind, path, format)));
    }

    [Test]
    public void Address_OfAnyPath_ComesBack()
    {
        const string Path = "/a b/c%20?d=e&f/#ü://x+y";
        var address = OutputAddress.Make("log", Path, ("max-size", "20m"), ("nothing", null), ("format", "docker-json"));

        Assert.That(address, Does.StartWith("log:///a%20b/").And.EndsWith("?max-size=20m&format=docker-json"));
        Assert.That(OutputAddress.Parse(address), Is.EqualTo(new OutputAddress(OutputKind.Log, Path, RecordFormat.DockerJson)));
        var shims = Shim.Stdio.StreamAddress.Parse("stdout", OutputAddress.Make("log", Path, ("max-size", "20m"), ("max-files", "5")));
        Assert.That((shims.Path, shims.Log!.MaxSize, shims.Log.MaxFiles), Is.EqualTo((Path, 20 * 1024 * 1024L, 5)), "as the shim understands it");
    }

    private static (string, string, string, bool)? Parse(RecordFormat format, string line) =>
        RecordParser.Of(format).TryParse(Encoding.UTF8.GetBytes(line), out var record)
            ? (record.Stream.ToString(), Encoding.UTF8.GetString(record.Time), Encoding.UTF8.GetString(record.Text), record.EndsLine)
            : null;
}
