extern alias SupervisorAssembly;

using System.Text;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli.Logs;

namespace Shim.Tests.Cli;

public sealed class LogTimeTests
{
    private static readonly DateTime s_now = new(2026, 11, 24, 12, 0, 0, DateTimeKind.Utc);

    [TestCase("1970-01-01T00:00:00Z", 0L)]
    [TestCase("2026-11-24T10:00:00.123456789Z", 1795514400123456789L)]
    [TestCase("2026-11-24T10:00:00.5Z", 1795514400500000000L)]
    [TestCase("2026-11-24T10:00:00", 1795514400000000000L)]
    [TestCase("2026-11-24 10:00:00z", 1795514400000000000L)]
    [TestCase("2026-11-24T12:30:00+02:30", 1795514400000000000L)]
    [TestCase("2026-11-24T01:00:00.000000001-09:00", 1795514400000000001L)]
    [TestCase("2024-02-29T23:59:59.999999999Z", 1709251199999999999L)]
    [TestCase("2016-12-31T23:59:60Z", 1483228800000000000L)]
    public void Parse_Rfc3339_Nanoseconds(string text, long expected)
    {
        Assert.That(LogTime.TryParse(Encoding.ASCII.GetBytes(text), out var nanoseconds), Is.True);
        Assert.That(nanoseconds, Is.EqualTo(expected));
    }

    [TestCase("")]
    [TestCase("2026-11-24")]
    [TestCase("2026-11-24T10:00")]
    [TestCase("2026-13-24T10:00:00Z")]
    [TestCase("2023-02-29T10:00:00Z")]
    [TestCase("2026-11-24T24:00:00Z")]
    [TestCase("2026-11-24T10:60:00Z")]
    [TestCase("2026-11-24T10:00:00.Z")]
    [TestCase("2026-11-24T10:00:00,5Z")]
    [TestCase("2026-11-24T10:00:00+2")]
    [TestCase("2026-11-24T10:00:00+24:00")]
    [TestCase("2026-11-24T10:00:00ZZ")]
    [TestCase("2026/11/24T10:00:00Z")]
    [TestCase("0026-11-24T10:00:00Z")]
    public void Parse_OtherText_IsRefused(string text) => Assert.That(LogTime.TryParse(Encoding.ASCII.GetBytes(text), out _), Is.False);

    [TestCase("2026-11-24T10:00:00Z", "2026-11-24T10:00:00")]
    [TestCase("2026-11-24", "2026-11-24T00:00:00")]
    [TestCase("1795514400", "2026-11-24T10:00:00")]
    [TestCase("1795514400.25", "2026-11-24T10:00:00.25")]
    [TestCase("0", "1970-01-01T00:00:00")]
    [TestCase("10m", "2026-11-24T11:50:00")]
    [TestCase("1h30m", "2026-11-24T10:30:00")]
    [TestCase("1.5h", "2026-11-24T10:30:00")]
    [TestCase("90s", "2026-11-24T11:58:30")]
    [TestCase("250ms", "2026-11-24T11:59:59.75")]
    [TestCase("2d", "2026-11-22T12:00:00")]
    [TestCase("1d12h", "2026-11-23T00:00:00")]
    public void ParseBound_EveryKind_ThatMoment(string text, string expected)
    {
        Assert.That(LogTime.TryParse(Encoding.ASCII.GetBytes(expected), out var nanoseconds), Is.True);
        Assert.That(LogTime.ParseBound(text, s_now), Is.EqualTo(nanoseconds));
    }

    [TestCase("")]
    [TestCase("soon")]
    [TestCase("10x")]
    [TestCase("m")]
    [TestCase("10m5")]
    [TestCase("-10m")]
    [TestCase("1..5h")]
    [TestCase("2026-11-31")]
    [TestCase("24.11.2026")]
    [TestCase("99999999999999999999")]
    public void ParseBound_OtherText_Null(string text) => Assert.That(LogTime.ParseBound(text, s_now), Is.Null);
}
