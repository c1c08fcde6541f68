using System.Text;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>A reader that accepts everything would prove nothing.</summary>
public sealed class LogParserTests
{
    private const string Time = "2026-11-24T10:00:00.123456789Z";

    [Test]
    public void Cri_Records_Read()
    {
        var records = CriLog.Parse(Encoding.UTF8.GetBytes($"{Time} stdout P ab\n{Time} stderr F x\n{Time} stdout F c\n{Time} stdout F \n"));
        Assert.That(LogRecord.Join(records, "stdout"), Is.EqualTo("abc\n\n"u8.ToArray()));
        Assert.That(LogRecord.Join(records, "stderr"), Is.EqualTo("x\n"u8.ToArray()));
        Assert.That(records, Has.All.Property("Time").EqualTo(Time));
    }

    [TestCase(Time + " stdout F x")]
    [TestCase("\n")]
    [TestCase(Time + "\n")]
    [TestCase(Time + " stdout F\n")]
    [TestCase(Time + " stdout X x\n")]
    [TestCase(Time + " stdin0 F x\n")]
    [TestCase(Time + "  stdout F x\n")]
    [TestCase("2026-11-24T10:00:00.1234567Z stdout F x\n")]
    [TestCase("2026-13-24T10:00:00.123456789Z stdout F x\n")]
    [TestCase("2026-11-24T10:00:00.12345678xZ stdout F x\n")]
    [TestCase("2026-11-24T10:00:00.1234567890 stdout F x\n")]
    public void Cri_Malformed_Refused(string content) =>
        Assert.That(() => CriLog.Parse(Encoding.UTF8.GetBytes(content)), Throws.TypeOf<FormatException>());

    [TestCase(16384, true)]
    [TestCase(16385, false)]
    public void Cri_LongText_RefusedBeyondTheLimit(int length, bool allowed) => Assert.That(
        () => CriLog.Parse(Encoding.UTF8.GetBytes($"{Time} stdout P {new string('x', length)}\n")),
        allowed ? Throws.Nothing : Throws.TypeOf<FormatException>());

    [Test]
    public void Json_Records_Read()
    {
        var records = DockerJsonLog.Parse(Encoding.UTF8.GetBytes(
            $$"""
            {"log":"a\u0000\"","stream":"stdout","time":"{{Time}}"}
            {"log":"ä\n","stream":"stdout","time":"{{Time}}"}
            {"log":"\n","stream":"stderr","time":"{{Time}}"}

            """));
        Assert.That(LogRecord.Join(records, "stdout"), Is.EqualTo("a\0\"ä\n"u8.ToArray()));
        Assert.That(LogRecord.Join(records, "stderr"), Is.EqualTo("\n"u8.ToArray()));
    }

    [TestCase("""{"log":"a\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}""", "")]
    [TestCase("""{"log":"a\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}}""")]
    [TestCase("""{"log":"a\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z","x":1}""")]
    [TestCase("""{"log":"a\n","stream":"stdout"}""")]
    [TestCase("""{"log":1,"stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}""")]
    [TestCase("""{"log":"","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}""")]
    [TestCase("""{"log":"a\nb\n","stream":"stdout","time":"2026-11-24T10:00:00.123456789Z"}""")]
    [TestCase("""{"log":"a\n","stream":"console","time":"2026-11-24T10:00:00.123456789Z"}""")]
    [TestCase("""{"log":"a\n","stream":"stdout","time":"2026-11-24 10:00:00.123456789Z"}""")]
    [TestCase("{\"log\":\"a\t\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-24T10:00:00.123456789Z\"}")]
    [TestCase("")]
    public void Json_Malformed_Refused(string line, string end = "\n") =>
        Assert.That(() => DockerJsonLog.Parse(Encoding.UTF8.GetBytes(line + end)), Throws.TypeOf<FormatException>());

    [Test]
    public void Json_NotUtf8_Refused() => Assert.That(
        () => DockerJsonLog.Parse([.. "{\"log\":\"a"u8, 0xFF, .. "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-24T10:00:00.123456789Z\"}\n"u8]),
        Throws.TypeOf<FormatException>());
}
