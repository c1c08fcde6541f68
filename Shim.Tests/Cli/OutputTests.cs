extern alias SupervisorAssembly;

using System.Text.Json.Nodes;
using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli;
using SupervisorAssembly::Supervisor.Cli.Output;

namespace Shim.Tests.Cli;

/// <summary>What programs and people get to read.</summary>
public sealed class OutputTests
{
    [Test]
    public void Line_Message_IsProtobufJsonOnOneLine()
    {
        var one = new Event { Sequence = 7, Type = EventType.Exited, ContainerId = "x", Pid = 3, Init = true, Time = new Timestamp(), Exit = new Exit { Status = 3 } };

        var json = Json.Line(one);

        Assert.That(json, Does.Not.Contain("\n"));
        var value = JsonNode.Parse(json)!;
        Assert.Multiple(() =>
        {
            Assert.That((string?)value["sequence"], Is.EqualTo("7"), "64-bit numbers are strings in protobuf's JSON");
            Assert.That((string?)value["type"], Is.EqualTo("EVENT_TYPE_EXITED"));
            Assert.That((string?)value["containerId"], Is.EqualTo("x"));
            Assert.That((string?)value["time"], Is.EqualTo("1970-01-01T00:00:00Z"));
            Assert.That((int?)value["exit"]!["status"], Is.EqualTo(3));
            Assert.That((int?)value["exit"]!["signal"], Is.Zero, "defaults are there too");
        });
    }

    [Test]
    public void Array_Messages_OneALine()
    {
        var json = Json.Array([new Container { Id = "a" }, new Container { Id = "b", Status = Status.Paused }]);

        Assert.That(json.Split('\n'), Has.Length.EqualTo(4));
        Assert.That(JsonNode.Parse(json)!.AsArray().Select(value => (string?)value!["id"]), Is.EqualTo(new[] { "a", "b" }));
        Assert.That((string?)JsonNode.Parse(json)![1]!["status"], Is.EqualTo("PAUSED"));
        Assert.That(Json.Array([]), Is.EqualTo("[]"));
    }

    [Test]
    public void WithContainer_Message_HasTheIdInFront()
    {
        var value = JsonNode.Parse(Json.WithContainer("x", new GetStatsResponse { Stats = new Stats { CgroupVersion = 1 } }))!;

        Assert.That((string?)value["containerId"], Is.EqualTo("x"));
        Assert.That((int?)value["stats"]!["cgroupVersion"], Is.EqualTo(1));
        Assert.That(JsonNode.Parse(Json.WithContainer("x", new Empty()))!.ToJsonString(), Is.EqualTo("""{"containerId":"x"}"""));
    }

    [TestCase(0ul, "0 B")]
    [TestCase(1023ul, "1023 B")]
    [TestCase(1024ul, "1.0 KiB")]
    [TestCase(1572864ul, "1.5 MiB")]
    [TestCase(ulong.MaxValue, "16384.0 PiB")]
    public void Bytes_Number_ShortText(ulong bytes, string expected) => Assert.That(Tables.Bytes(bytes), Is.EqualTo(expected));

    [TestCase(-5, "now")]
    [TestCase(0, "now")]
    [TestCase(59, "59s")]
    [TestCase(60, "1m")]
    [TestCase(3600, "1h")]
    [TestCase(86400, "24h")]
    [TestCase(172800, "2d")]
    public void Age_Seconds_LargestUnit(int seconds, string expected) => Assert.That(Tables.Age(TimeSpan.FromSeconds(seconds)), Is.EqualTo(expected));

    [Test]
    public void CommandLine_WordsWithBlanksAndControls_AreQuotedAndHarmless() =>
        Assert.That(Tables.CommandLine(["sh", "-c", "echo 'hi'", "", "\u001b[2J"]), Is.EqualTo("sh -c 'echo '\\''hi'\\''' '' '\\x1b[2J'"));

    [Test]
    public void Table_NotATerminal_LinesAreWholeAndUnpadded()
    {
        using var output = new StringWriter { NewLine = "\n" };
        var console = new CliConsole(output, TextWriter.Null, isTerminal: false);
        var table = Tables.WithColumns("ID", ">PID", "BUNDLE");
        table.Row("a[red]", "1", new string('b', 300));
        table.Row("bb", "22", "");

        console.Print(table);

        Assert.That(output.ToString().Split('\n'), Is.EqualTo(new[] { "ID       PID   BUNDLE", $"a[red]     1   {new string('b', 300)}", "bb        22", "" }));
    }

    [TestCase(ExitReason.Exited, 3u, 0u, "3")]
    [TestCase(ExitReason.Signaled, 137u, 9u, "137, SIGKILL")]
    [TestCase(ExitReason.OomKilled, 137u, 9u, "137, out of memory")]
    [TestCase(ExitReason.ShimLost, 137u, 9u, "137, shim lost")]
    [TestCase(ExitReason.Unknown, 255u, 0u, "255, status unknown")]
    public void Exit_Reason_InWords(ExitReason reason, uint status, uint signal, string expected) =>
        Assert.That(Describe.Exit(new Exit { Reason = reason, Status = status, Signal = signal }), Is.EqualTo(expected));

    [Test]
    public void Event_Line_SaysWhatHappened() =>
        Assert.That(
            EventsVerb.Line(new Event { Sequence = 12, Time = new Timestamp(), ContainerId = "web", Type = EventType.Exited, Pid = 4711, Init = true, Exit = new Exit { Status = 143, Signal = 15, Reason = ExitReason.Signaled } }),
            Is.EqualTo("12 1970-01-01 00:00:00.000Z web exited pid 4711 (init) status 143, SIGTERM"));
}
