using System.Text;
using NUnit.Framework;
using Shim.Processes;
using Shim.Tasks;

namespace Shim.Tests.Tasks;

public sealed class TaskEventJsonTests
{
    private static readonly DateTimeOffset s_time = new(2026, 1, 31, 12, 0, 0, 123, TimeSpan.Zero);

    [Test]
    public void Write_EveryType_ReadBackEqual()
    {
        foreach (var type in Enum.GetValues<TaskEventType>())
        {
            RoundTrip(new TaskEvent(type, "c1", 42, type == TaskEventType.Create) { Sequence = 7, Time = s_time });
        }
    }

    [Test]
    public void Write_EveryReason_ReadBackEqual()
    {
        foreach (var reason in Enum.GetValues<ExitReason>())
        {
            RoundTrip(new TaskEvent(TaskEventType.Exit, "c1", int.MaxValue, true, new ExitRecord(
                new ExitStatus(139, 11, true), reason, "message", s_time.AddTicks(1), new ResourceUse(ulong.MaxValue, 2, 3)))
            { Sequence = long.MaxValue, Time = s_time });
        }
    }

    [TestCase("")]
    [TestCase("line\nfeed")]
    [TestCase("carriage\r\nreturn")]
    [TestCase("\"quotes\" and \\ and \0 and \u2028")]
    [TestCase("ä😀")]
    public void Write_WildMessages_OneLineAndReadBackEqual(string message) => RoundTrip(new TaskEvent(TaskEventType.Exit, message, 1, false, new ExitRecord(
        new ExitStatus(1, 0, false), ExitReason.RuntimeError, message, s_time, default))
    { Sequence = 1, Time = s_time });

    [Test]
    public void Read_UnknownMembers_Skipped()
    {
        var line = Encoding.UTF8.GetString(TaskEventJson.Write(new TaskEvent(TaskEventType.Oom, "c1", 1, true) { Sequence = 1, Time = s_time }).Span);
        Assert.That(TaskEventJson.Read(Encoding.UTF8.GetBytes(line[..^1] + ",\"later\":{\"x\":[1]}}")).Type, Is.EqualTo(TaskEventType.Oom));
    }

    [TestCase("")]
    [TestCase("garbage")]
    [TestCase("null")]
    [TestCase("[]")]
    [TestCase("7")]
    [TestCase("{}")]
    [TestCase("{\"seq\":1")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Nothing\",\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"99\",\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start, Oom\",\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":null,\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start\",\"id\":null,\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start\",\"id\":\"c\",\"pid\":99999999999,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start\",\"id\":\"c\",\"pid\":\"1\",\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start\",\"id\":\"c\",\"pid\":1,\"init\":1}")]
    [TestCase("{\"seq\":1.5,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Start\",\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"yesterday\",\"type\":\"Start\",\"id\":\"c\",\"pid\":1,\"init\":true}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Exit\",\"id\":\"c\",\"pid\":1,\"init\":true,\"exit\":{}}")]
    [TestCase("{\"seq\":1,\"time\":\"2026-01-31T12:00:00+00:00\",\"type\":\"Exit\",\"id\":\"c\",\"pid\":1,\"init\":true,\"exit\":7}")]
    public void Read_Garbage_InvalidData(string line) => Assert.That(
        () => TaskEventJson.Read(Encoding.UTF8.GetBytes(line)), Throws.TypeOf<InvalidDataException>().With.Message.StartsWith("not a journal line: "));

    [Test]
    public void Read_RandomDamage_ReadOrInvalidDataAndNothingElse()
    {
        var random = new Random(1);
        var whole = TaskEventJson.Write(new TaskEvent(TaskEventType.Exit, "c1", 42, true, new ExitRecord(
            new ExitStatus(137, 9, false), ExitReason.OomKilled, "message", s_time, new ResourceUse(1, 2, 3)))
        { Sequence = 7, Time = s_time }).ToArray();
        for (var i = 0; i < 20_000; i++)
        {
            var line = whole.ToArray();
            for (var damage = random.Next(1, 4); damage > 0; damage--)
            {
                line[random.Next(line.Length)] = (byte)random.Next(256);
            }

            try
            {
                _ = TaskEventJson.Read(line.AsMemory(0, random.Next(4) == 0 ? random.Next(line.Length) : line.Length));
            }
            catch (InvalidDataException)
            {
                // As it should be; any other exception fails the test.
            }
        }
    }

    private static void RoundTrip(TaskEvent written)
    {
        var line = TaskEventJson.Write(written);
        Assert.That(line.Span.IndexOf((byte)'\n'), Is.EqualTo(-1));
        Assert.That(TaskEventJson.Read(line), Is.EqualTo(written));
    }
}
