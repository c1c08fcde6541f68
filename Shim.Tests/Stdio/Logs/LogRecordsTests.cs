using System.Text;
using NUnit.Framework;
using Shim.Stdio.Logs;
using Shim.Tests.Support;

namespace Shim.Tests.Stdio.Logs;

public sealed class LogRecordsTests
{
    private const int MaxText = LogRecords.MaxText;

    private static readonly DateTime s_time = new DateTime(2026, 11, 24, 9, 8, 7, DateTimeKind.Utc).AddTicks(1234567);

    [Test]
    public void Append_Lines_ExactBytes()
    {
        Assert.That(Text(Format(LogFormat.Cri, LogStream.Stdout, "hello\n", "\n", "no newline")), Is.EqualTo(
            "2026-11-24T09:08:07.123456700Z stdout F hello\n2026-11-24T09:08:07.123456700Z stdout F \n2026-11-24T09:08:07.123456700Z stdout P no newline\n"));
        Assert.That(Text(Format(LogFormat.DockerJson, LogStream.Stderr, "hello\n", "\n", "no newline")), Is.EqualTo(
            """
            {"log":"hello\n","stream":"stderr","time":"2026-11-24T09:08:07.123456700Z"}
            {"log":"\n","stream":"stderr","time":"2026-11-24T09:08:07.123456700Z"}
            {"log":"no newline","stream":"stderr","time":"2026-11-24T09:08:07.123456700Z"}

            """));
    }

    [Test]
    public void Append_BeginningOfALine_HeldUntilItsEnd()
    {
        var records = new LogRecords(LogFormat.Cri, LogStream.Stdout);
        var output = new LogBuffer();
        records.Append("first\nsec"u8, s_time, output);
        Assert.That(Text(output), Does.EndWith(" F first\n"));
        output.Consume(output.Length);
        records.Append("ond"u8, s_time, output);
        Assert.That(output.Length, Is.Zero);
        records.Append("\n"u8, s_time.AddSeconds(1), output);
        Assert.That(Text(output), Is.EqualTo("2026-11-24T09:08:08.123456700Z stdout F second\n"));
        output.Consume(output.Length);
        records.End(s_time, output);
        Assert.That(output.Length, Is.Zero, "nothing was held");
    }

    [TestCase(MaxText - 1, new[] { MaxText - 1 })]
    [TestCase(MaxText, new[] { MaxText })]
    [TestCase(MaxText + 1, new[] { MaxText, 1 })]
    [TestCase((2 * MaxText) - 1, new[] { MaxText, MaxText - 1 })]
    [TestCase(2 * MaxText, new[] { MaxText, MaxText })]
    [TestCase((2 * MaxText) + 1, new[] { MaxText, MaxText, 1 })]
    [TestCase(20 * 1024, new[] { MaxText, 4096 })]
    public void Append_LongLine_PartsOf16KiB(int length, int[] parts)
    {
        var line = new string('x', length) + "\n";
        foreach (var pieces in new[] { [line], [line[..^1], "\n"], [line[..1], line[1..]], line.Chunk(1000).Select(chunk => new string(chunk)).ToArray() })
        {
            var records = CriLog.Parse(Format(LogFormat.Cri, LogStream.Stdout, pieces));
            Assert.That(records.Select(record => record.Text.Length), Is.EqualTo(parts));
            Assert.That(records.Select(record => record.IsWhole), Is.EqualTo(parts.Select((_, i) => i == parts.Length - 1)));
        }
    }

    // All lengths of a character, at every place around the cut; the piece ends at every byte of it.
    [Test]
    public void Append_CharacterAtTheCut_StaysWhole(
        [Values("é", "€", "𝄞")] string character,
        [Range(-4, 1)] int place,
        [Range(-4, 4)] int piece,
        [Values] bool json)
    {
        byte[] line = [.. Enumerable.Repeat((byte)'x', MaxText + place), .. Encoding.UTF8.GetBytes(character), .. "y\n"u8];
        var end = Math.Min(line.Length, MaxText + piece);
        var log = Format(json ? LogFormat.DockerJson : LogFormat.Cri, LogStream.Stdout, line[..end], line[end..]);
        var records = json ? DockerJsonLog.Parse(log) : CriLog.Parse(log);
        Assert.That(LogRecord.Join(records, "stdout"), Is.EqualTo(line));
        Assert.That(records.Select(record => Encoding.UTF8.GetString(record.Text)), Has.None.Contains('\uFFFD'));
        Assert.That(records, Has.Count.EqualTo(line.Length - 1 > MaxText ? 2 : 1));
    }

    [Test]
    public void Append_EveryByte_EscapedInJson()
    {
        var text = string.Concat(Enumerable.Range(0, 0x800).Where(value => value != '\n').Select(value => (char)value)) + "\u2028\uFFFD\uFFFF😀";
        var log = Format(LogFormat.DockerJson, LogStream.Stdout, text + "\n");
        Assert.That(Text(log), Does.Contain("\\u0000").And.Contain("\\u001f").And.Contain("\\\"").And.Contain("\\\\").And.Contain("\u007F\u0080"));
        Assert.That(Encoding.UTF8.GetString(DockerJsonLog.Parse(log).Single().Text), Is.EqualTo(text));
    }

    [TestCase(new byte[] { 0xFF }, "\uFFFD")]
    [TestCase(new byte[] { 0x80, 0x80 }, "\uFFFD\uFFFD")]
    [TestCase(new byte[] { 0xE2, 0x82 }, "\uFFFD")]
    [TestCase(new byte[] { 0xE2, 0x82, 0x41 }, "\uFFFDA")]
    [TestCase(new byte[] { 0xED, 0xA0, 0x80 }, "\uFFFD\uFFFD\uFFFD")]
    [TestCase(new byte[] { 0xC0, 0x80 }, "\uFFFD\uFFFD")]
    [TestCase(new byte[] { 0xF0, 0x9F, 0x98, 0x22 }, "\uFFFD\"")]
    [TestCase(new byte[] { 0xC3, 0xA4, 0xC3, 0x5C, 0x00 }, "ä\uFFFD\\\0")]
    public void Append_NotUtf8_ReplacedInJsonAlone(byte[] text, string json)
    {
        byte[] line = [.. text, (byte)'\n'];
        Assert.That(Encoding.UTF8.GetString(DockerJsonLog.Parse(Format(LogFormat.DockerJson, LogStream.Stdout, line)).Single().Text), Is.EqualTo(json));
        Assert.That(LogRecord.Join(CriLog.Parse(Format(LogFormat.Cri, LogStream.Stdout, line)), "stdout"), Is.EqualTo(line));
    }

    [Test]
    public void Gap_WithinALine_ItsBeginningComesFirst()
    {
        var output = new LogBuffer();
        var records = new LogRecords(LogFormat.Cri, LogStream.Stderr);
        records.Append("begin"u8, s_time, output);
        records.Gap(12345, s_time, output);
        records.Append("end\n"u8, s_time, output);
        var read = CriLog.Parse(output.Bytes.ToArray());
        Assert.That(read.Select(record => (record.IsWhole, record.Stream)), Is.EqualTo(new[] { (false, "stderr"), (true, "stderr"), (true, "stderr") }));
        Assert.That(Encoding.UTF8.GetString(read[1].Text), Does.Contain("12345 bytes"));
        Assert.That((Encoding.UTF8.GetString(read[0].Text), Encoding.UTF8.GetString(read[2].Text)), Is.EqualTo(("begin", "end")));
    }

    [Test]
    public void Append_AnyBytesInAnyPieces_ComeBackExactly([Range(1, 60)] int seed, [Values] bool json)
    {
        var format = json ? LogFormat.DockerJson : LogFormat.Cri;
        var random = new Random(seed);
        byte[][] written = [RandomStream(random), RandomStream(random)];
        LogRecords[] records = [new(format, LogStream.Stdout), new(format, LogStream.Stderr)];
        var (output, time, at) = (new LogBuffer(), s_time, new[] { 0, 0 });
        while (at[0] < written[0].Length || at[1] < written[1].Length)
        {
            var stream = random.Next(2);
            var piece = Math.Min(written[stream].Length - at[stream], random.Next(1, 1 << random.Next(1, 17)));
            records[stream].Append(written[stream].AsSpan(at[stream], piece), time, output);
            at[stream] += piece;
            time = time.AddTicks(random.Next(1000));
        }

        records[0].End(time, output);
        records[1].End(time, output);
        var read = json ? DockerJsonLog.Parse(output.Bytes.ToArray()) : CriLog.Parse(output.Bytes.ToArray());
        Assert.That(read.Select(record => record.Time), Is.Ordered);
        for (var stream = 0; stream < 2; stream++)
        {
            var mine = read.Where(record => record.Stream == (stream == 0 ? "stdout" : "stderr")).ToList();
            var expected = json ? Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(written[stream])) : written[stream];
            Assert.That(LogRecord.Join(mine, mine.Count > 0 ? mine[0].Stream : ""), Is.EqualTo(expected));

            // In one piece it becomes the same records: where they end is a matter of the bytes alone.
            var whole = Format(format, stream == 0 ? LogStream.Stdout : LogStream.Stderr, written[stream]);
            Assert.That(
                mine.Select(record => (record.IsWhole, record.Text)),
                Is.EqualTo((json ? DockerJsonLog.Parse(whole) : CriLog.Parse(whole)).Select(record => (record.IsWhole, record.Text))));

            // A part that is followed by another one is as long as it can be.
            if (!json)
            {
                Assert.That(mine.SkipLast(1).Where(record => !record.IsWhole).Select(record => record.Text.Length), Has.All.GreaterThan(MaxText - 4));
            }
        }
    }

    private static byte[] RandomStream(Random random)
    {
        using var bytes = new MemoryStream();
        for (var line = random.Next(1, 40); line > 0; line--)
        {
            var length = random.Next(4) switch { 0 => 0, 1 => random.Next(200), 2 => random.Next(20_000), _ => random.Next(MaxText - 6, MaxText + 6) * random.Next(1, 4) };
            var kind = random.Next(4);
            while (length > 0)
            {
                var character = kind switch
                {
                    0 => "x"u8.ToArray(),
                    1 => Encoding.UTF8.GetBytes(random.Next(5) switch { 0 => "\0", 1 => "ä", 2 => "€", 3 => "𝄞", _ => "\"\\\t\u001b" }),
                    2 => [(byte)(random.Next(255) is var value and < '\n' ? value : random.Next('\n' + 1, 256))],
                    _ => Enumerable.Repeat((byte)random.Next(' ', 127), random.Next(1, 100)).ToArray(),
                };
                bytes.Write(character);
                length -= character.Length;
            }

            bytes.WriteByte((byte)'\n');
        }

        // Some streams end without a newline.
        return random.Next(2) == 0 ? bytes.ToArray() : bytes.ToArray()[..^1];
    }

    private static byte[] Format(LogFormat format, LogStream stream, params string[] pieces) =>
        Format(format, stream, [.. pieces.Select(Encoding.UTF8.GetBytes)]);

    private static byte[] Format(LogFormat format, LogStream stream, params byte[][] pieces)
    {
        var output = new LogBuffer();
        var records = new LogRecords(format, stream);
        Array.ForEach(pieces, piece => records.Append(piece, s_time, output));
        records.End(s_time, output);
        return output.Bytes.ToArray();
    }

    private static string Text(LogBuffer buffer) => Encoding.UTF8.GetString(buffer.Bytes);

    private static string Text(byte[] bytes) => Encoding.UTF8.GetString(bytes);
}
