extern alias SupervisorAssembly;

using System.Text;
using NUnit.Framework;
using Shim.Stdio.Logs;
using Shim.Tests.Support;
using Reading = SupervisorAssembly::Supervisor.Cli.Logs;

namespace Shim.Tests.Cli;

/// <summary>What the shim writes into a log, read back: complete, in order, once.</summary>
public sealed class LogReadingTests
{
    [TestCase(LogFormat.Cri, 0L)]
    [TestCase(LogFormat.Cri, 50_000L)]
    [TestCase(LogFormat.DockerJson, 0L)]
    [TestCase(LogFormat.DockerJson, 50_000L)]
    public void Read_EverythingThatWasWritten_ComesBack(object format, long maxSize)
    {
        using var log = new TestLog((LogFormat)format, maxSize, maxFiles: 100);
        var random = new Random(7);
        for (var i = 0; i < 300; i++)
        {
            // Lines from nothing to some records long, and chunks that end anywhere; not in the middle of a character, for JSON's sake.
            log.Write((LogStream)(i % 2), Encoding.UTF8.GetBytes(Text(random, i % 10 == 0 ? 40_000 : 50)));
        }

        log.End();
        Assert.That(log.Files, maxSize == 0 ? Is.EqualTo(1) : Is.InRange(5, 99));
        Assert.That(Read(log), Is.EqualTo((log.Written[0].ToArray(), log.Written[1].ToArray())));
    }

    [Test]
    public void Read_AnyBytes_ComeBack()
    {
        using var log = new TestLog();
        var random = new Random(11);
        for (var i = 0; i < 100; i++)
        {
            var bytes = new byte[random.Next(40_000)];
            random.NextBytes(bytes);
            log.Write((LogStream)(i % 2), bytes);
        }

        log.End();
        Assert.That(Read(log), Is.EqualTo((log.Written[0].ToArray(), log.Written[1].ToArray())));
    }

    [Test]
    public void Read_TornRecordAtTheEnd_IsWaitedFor()
    {
        using var log = new TestLog();
        log.Out("one\n");
        log.Raw("2026-11-24T10:00:00.123456789Z std");
        using var reader = log.Reader(follow: true);

        Assert.That(All(reader), Is.EqualTo("one\n"));
        Assert.That(All(reader), Is.Empty);
        log.Raw("out F tw");
        Assert.That(All(reader), Is.Empty);
        log.Raw("o\n");
        Assert.That(All(reader), Is.EqualTo("two\n"));
        Assert.That(reader.Malformed, Is.Zero);
    }

    [Test]
    public void Read_LineThatIsNoRecord_IsLeftOutAndCounted()
    {
        using var log = new TestLog();
        log.Out("one\n");
        log.Raw("2026-11-24T10:00:00.123456789Z std\n\n");
        log.Out("two\n");
        using var reader = log.Reader();

        Assert.That(All(reader), Is.EqualTo("one\ntwo\n"));
        Assert.That(reader.Malformed, Is.EqualTo(2));
    }

    [Test]
    public void Follow_RotationBetweenTwoLooks_NothingLostOrRepeated([Range(1, 6)] int rotations)
    {
        using var log = new TestLog(maxSize: 120, maxFiles: 10);
        log.Out("first\n");
        using var reader = log.Reader(follow: true);
        Assert.That(All(reader), Is.EqualTo("first\n"));
        log.Out("end of the first file\n");
        for (var i = 0; i < rotations * 2; i++)
        {
            // Two records fit into a file.
            log.Out($"line {i}\n");
        }

        Assert.That(log.Files, Is.EqualTo(rotations + 1));
        Assert.That(All(reader), Is.EqualTo("end of the first file\n" + Lines(0, rotations * 2)));
        log.Out("more\n");
        Assert.That(All(reader), Is.EqualTo("more\n"));
    }

    [Test]
    public void Follow_HeldFileIsDeleted_IsReadToItsEndAndTheOldestThatIsLeftIsNext()
    {
        var warnings = new List<string>();
        using var log = new TestLog(maxSize: 100, maxFiles: 3);
        log.Out("first\n");
        using var reader = log.Reader(follow: true, warnings.Add);
        Assert.That(All(reader), Is.EqualTo("first\n"));
        log.Out("second\n");
        for (var i = 0; i < 10; i++)
        {
            log.Out($"line {i}\n");
        }

        Assert.That(log.Files, Is.EqualTo(3));
        Assert.That(All(reader), Is.EqualTo("second\n" + Lines(4, 6)), "two lines in each of the three files that are left");
        Assert.That(warnings, Has.Count.EqualTo(1));
        Assert.That(warnings[0], Does.Contain("missing"));
        log.Out("more\n");
        Assert.That(All(reader), Is.EqualTo("more\n"));
        Assert.That(warnings, Has.Count.EqualTo(1));
    }

    [Test]
    public void Follow_OneFileOnly_GoesOnWithTheNewOne()
    {
        var warnings = new List<string>();
        using var log = new TestLog(maxSize: 100, maxFiles: 1);
        log.Out("a\n");
        using var reader = log.Reader(follow: true, warnings.Add);
        Assert.That(All(reader), Is.EqualTo("a\n"));
        log.Out("b\n");
        log.Out("c\n");
        Assert.That(All(reader), Is.EqualTo("b\nc\n"));
    }

    [Test]
    public void Follow_RenamedBySomebodyElse_ReadToTheEndBeforeTheNewFile()
    {
        using var log = new TestLog();
        log.Out("one\n");
        using var reader = log.Reader(follow: true);
        Assert.That(All(reader), Is.EqualTo("one\n"));

        // As logrotate does: a new file is there at once, and written to only after the log was told to reopen.
        File.Move(log.Path, log.Path + "-20261124");
        File.WriteAllText(log.Path, "");
        Assert.That(All(reader), Is.Empty);
        log.Out("two\n");
        Assert.That(All(reader), Is.EqualTo("two\n"));
        log.Out("three\n");
        log.Reopen();
        log.Out("four\n");
        Assert.That(All(reader), Is.EqualTo("three\nfour\n"));
    }

    [Test]
    public void Follow_CutOff_BeginsAgain()
    {
        var warnings = new List<string>();
        using var log = new TestLog();
        log.Out("one\n");
        log.Out("two\n");
        using var reader = log.Reader(follow: true, warnings.Add);
        Assert.That(All(reader), Is.EqualTo("one\ntwo\n"));
        File.WriteAllText(log.Path, "");
        log.Out("new\n");

        Assert.That(All(reader), Is.EqualTo("new\n"));
        Assert.That(warnings, Has.Count.EqualTo(1));
    }

    [Test]
    public void Follow_NothingThereYet_IsWaitedFor()
    {
        using var log = new TestLog();
        File.Delete(log.Path);
        using var reader = log.Reader(follow: true);
        Assert.That(All(reader), Is.Empty);
        log.Reopen();
        log.Out("one\n");
        Assert.That(All(reader), Is.EqualTo("one\n"));
    }

    [Test]
    public void Follow_HoleInTheNumbers_TheNextOneThereIs()
    {
        using var log = new TestLog(maxSize: 100, maxFiles: 10);
        log.Out("first\n");
        using var reader = log.Reader(follow: true);
        Assert.That(All(reader), Is.EqualTo("first\n"));
        log.Out("second\n");
        for (var i = 0; i < 8; i++)
        {
            log.Out($"line {i}\n");
        }

        // Somebody has made room: lines 2 and 3.
        File.Delete(log.Path + ".2");
        Assert.That(All(reader), Is.EqualTo("second\n" + Lines(0, 2) + Lines(4, 4)));
    }

    /// <summary>A writer that rotates every few records, and a reader that looks when it likes.</summary>
    [Test]
    public async Task Follow_WhileItIsRotatedAllTheTime_EveryLineOnce()
    {
        const int Count = 20_000;
        using var log = new TestLog(maxSize: 1000, maxFiles: 100);
        var seen = new List<int>();
        using var reader = log.Reader(follow: true);
        var read = 0;
        var written = 0;
        var failed = false;
        var writer = Task.Run(() =>
        {
            for (var i = 0; i < Count && !Volatile.Read(ref failed); i++)
            {
                // Never so far ahead that a file has to go before it was read: about 20 lines are in each of the 100.
                SpinWait.SpinUntil(() => i - Volatile.Read(ref read) < 1000 || Volatile.Read(ref failed));
                log.Out($"{i}\n");
                Volatile.Write(ref written, i + 1);
            }
        });
        try
        {
            while (seen.Count < Count)
            {
                var lines = All(reader).Split('\n', StringSplitOptions.RemoveEmptyEntries);
                seen.AddRange(lines.Select(line => int.Parse(line, System.Globalization.CultureInfo.InvariantCulture)));
                Volatile.Write(ref read, seen.Count);
                if (lines.Length == 0 && Volatile.Read(ref written) == Count)
                {
                    seen.AddRange(All(reader).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => int.Parse(line, System.Globalization.CultureInfo.InvariantCulture)));
                    break;
                }
            }
        }
        finally
        {
            Volatile.Write(ref failed, true);
        }

        await writer.WithinAsync(TimeSpan.FromSeconds(60), "the writer");
        Assert.That(seen, Is.EqualTo(Enumerable.Range(0, Count)));
        Assert.That(reader.Malformed, Is.Zero);
    }

    [TestCase(LogFormat.Cri)]
    [TestCase(LogFormat.DockerJson)]
    public void Tail_AnyNumberOfLines_AreTheLastOfAllFilesAndStreams(object format)
    {
        using var log = new TestLog((LogFormat)format, maxSize: 20_000, maxFiles: 100);
        var random = new Random(5);
        for (var i = 0; i < 200; i++)
        {
            var stream = random.Next(2);
            var text = new string((char)('a' + (i % 26)), random.Next(8) == 0 ? random.Next(40_000) : random.Next(60));
            var ends = random.Next(3) > 0;
            log.Write((LogStream)stream, Encoding.ASCII.GetBytes(ends ? text + "\n" : text));
        }

        log.End();
        Assert.That(log.Files, Is.GreaterThan(5));

        // The last lines are those that end last: a part of a long line may come before shorter lines of the other stream.
        var ended = LinesInOrderOfEnd(log);
        foreach (var count in (int[])[0, 1, 2, 3, 10, 50, 100, ended.Count - 1, ended.Count, ended.Count + 10])
        {
            using var reader = log.Reader(tail: count);
            var (stdout, stderr) = Separate(reader);
            var expected = ended.TakeLast(count).ToList();
            Assert.That(Encoding.ASCII.GetString(stdout), Is.EqualTo(string.Concat(expected.Where(line => line.Stream == 0).Select(line => line.Text))), $"{count} lines, stdout");
            Assert.That(Encoding.ASCII.GetString(stderr), Is.EqualTo(string.Concat(expected.Where(line => line.Stream == 1).Select(line => line.Text))), $"{count} lines, stderr");
        }
    }

    [Test]
    public void Tail_ThenFollow_GoesOnWhereItStopped()
    {
        using var log = new TestLog(maxSize: 100, maxFiles: 10);
        for (var i = 0; i < 9; i++)
        {
            log.Out($"line {i}\n");
        }

        using var reader = log.Reader(follow: true, tail: 3);
        Assert.That(All(reader), Is.EqualTo(Lines(6, 3)));
        log.Out("line 9\nline 10\nline 11\n");
        Assert.That(All(reader), Is.EqualTo(Lines(9, 3)));
    }

    [Test]
    public void Tail_OfNothing_BeginsWithWhatComes()
    {
        using var log = new TestLog();
        log.Out("old\n");
        log.Raw("2026-11-24T10:00:00.123456789Z stdout F to");
        using var reader = log.Reader(follow: true, tail: 0);
        Assert.That(All(reader), Is.Empty);
        log.Raw("rn\n");
        log.Out("new\n");
        Assert.That(All(reader), Is.EqualTo("torn\nnew\n"));
    }

    [Test]
    public void Tail_LinesAfterTheLimit_DoNotCount()
    {
        using var log = new TestLog();
        for (var i = 0; i < 10; i++)
        {
            log.Out($"line {i}\n");
        }

        // A millisecond from one to the next.
        Assert.That(Reading.LogTime.TryParse("2026-11-24T10:00:00.005Z"u8, out var until), Is.True);
        using var reader = log.Reader(tail: 2, until: until);
        Assert.That(All(reader), Does.StartWith(Lines(4, 2)));
    }

    [Test]
    public void Tail_OfAHugeLog_ReadsTheEndOnly()
    {
        using var log = new TestLog();
        using (var file = File.OpenWrite(log.Path))
        {
            // A hole: nothing of it is on the disk, but whoever read it would need minutes.
            file.SetLength(100L * 1024 * 1024 * 1024);
        }

        log.Raw("\n");
        for (var i = 0; i < 100; i++)
        {
            log.Out($"line {i}\n");
        }

        var before = BytesRead();
        using var reader = log.Reader(tail: 10);
        Assert.That(All(reader), Is.EqualTo(Lines(90, 10)));
        Assert.That(BytesRead() - before, Is.LessThan(4 * 1024 * 1024));
    }

    [Test]
    public void Print_Partials_AreJoinedAndNothingIsInvented()
    {
        using var log = new TestLog();
        log.Out(new string('x', 40_000));
        log.Err("between\n");
        log.Out("end\nlast without newline");
        log.End();

        Assert.That(Print(log, timestamps: false), Is.EqualTo((new string('x', 40_000) + "end\nlast without newline", "between\n")));
    }

    [Test]
    public void Print_Timestamps_OncePerLine()
    {
        using var log = new TestLog();
        log.Out(new string('x', 40_000));
        log.Err("between\n");
        log.Out("end\nlast");
        log.End();

        var (stdout, stderr) = Print(log, timestamps: true);
        Assert.That(stdout, Is.EqualTo($"2026-11-24T10:00:00.000000000Z {new string('x', 40_000)}end\n2026-11-24T10:00:00.003000000Z last"));
        Assert.That(stderr, Is.EqualTo("2026-11-24T10:00:00.001000000Z between\n"));
    }

    [TestCase("2026-11-24T10:00:00.002Z", null, "c\nd\ne\n")]
    [TestCase("2026-11-24T10:00:00.001000001Z", "2026-11-24T10:00:00.003Z", "c\nd\n")]
    [TestCase(null, "2026-11-24T10:00:00.000Z", "a\n")]
    [TestCase("2026-11-25T00:00:00Z", null, "")]
    [TestCase(null, "2026-11-23T00:00:00Z", "")]
    public void Print_Bounds_AreInclusive(string? since, string? until, string expected)
    {
        using var log = new TestLog();
        foreach (var letter in "abcde")
        {
            log.Out($"{letter}\n");
        }

        Assert.That(Print(log, timestamps: false, Bound(since), Bound(until)).Stdout, Is.EqualTo(expected));
    }

    [Test]
    public void Print_LineThatBeganBefore_IsLeftOutAsAWhole()
    {
        using var log = new TestLog();
        log.Out(new string('x', 20_000));
        log.Out("end\n");
        log.Out("next\n");

        Assert.That(Print(log, timestamps: false, since: Bound("2026-11-24T10:00:00.001Z")).Stdout, Is.EqualTo("next\n"));
    }

    [Test]
    public void Print_BothToTheSamePlace_KeepsTheOrder()
    {
        using var log = new TestLog();
        log.Out("1\n");
        log.Err("2\n");
        log.Out("3\n");
        log.Err("4");
        log.Out("5\n");
        log.End();
        using var target = new MemoryStream();
        var printer = new Reading.LogPrinter(target, target, sameTarget: true);
        using var reader = log.Reader();
        while (reader.TryRead(out var record))
        {
            printer.Print(record);
        }

        printer.Flush();
        Assert.That(Encoding.ASCII.GetString(target.ToArray()), Is.EqualTo("1\n2\n3\n5\n4"));
    }

    [TestCase(null, "a\nx\nb\ny\nc\nz\n")]
    [TestCase(2L, "c\nz\n")]
    [TestCase(3L, "b\nc\nz\n")]
    public void TwoLogs_OneForEachStream_AreInTheOrderOfTheirTimes(long? lines, string expected)
    {
        using var stdout = new TestLog(maxSize: 100, name: "stdout.log");
        using var stderr = new TestLog(LogFormat.DockerJson, name: "stderr.log");
        foreach (var (text, error) in (ReadOnlySpan<(string, string)>)[("a", "x"), ("b", "y"), ("c", "z")])
        {
            // Both clocks tell the same.
            stdout.Out($"{text}\n");
            stderr.Err($"{error}\n");
        }

        using var target = new MemoryStream();
        var printer = new Reading.LogPrinter(target, target, sameTarget: true);
        Reading.OutputAddress[] addresses =
            [new(Reading.OutputKind.Log, stdout.Path), new(Reading.OutputKind.Log, stderr.Path, Reading.RecordFormat.DockerJson)];
        using var source = Reading.RecordSource.Open(addresses, new Reading.LogChoice(Follow: true, Lines: lines), text => Assert.Fail(text));
        Assert.That(source.Pump(printer), Is.True);
        stderr.Err("late\n");
        Assert.That(source.Pump(printer), Is.True);
        Assert.That(source.Pump(printer), Is.False);

        printer.Flush();
        Assert.That(Encoding.ASCII.GetString(target.ToArray()), Is.EqualTo(expected + "late\n"));
    }

    [TestCase(null, "a\nb\n\nc\nrest")]
    [TestCase(0L, "")]
    [TestCase(1L, "rest")]
    [TestCase(2L, "c\nrest")]
    [TestCase(3L, "\nc\nrest")]
    [TestCase(5L, "a\nb\n\nc\nrest")]
    [TestCase(6L, "a\nb\n\nc\nrest")]
    public void Raw_Tail_CountsLines(long? lines, string expected)
    {
        var path = Path.Combine(TestRun.NewDirectory("raw"), "file");
        File.WriteAllText(path, "a\nb\n\nc\nrest");
        using var target = new MemoryStream();
        var printer = new Reading.LogPrinter(target, target, sameTarget: true);
        using (var source = Reading.RawSource.Open(path, Reading.LogStream.Stdout, new Reading.LogChoice(Follow: true, Lines: lines), text => Assert.Fail(text)))
        {
            source.Pump(printer);
            printer.Flush();
            Assert.That(Encoding.ASCII.GetString(target.ToArray()), Is.EqualTo(expected));
            File.AppendAllText(path, "\nmore");
            Assert.That(source.Pump(printer), Is.True);
            Assert.That(source.Pump(printer), Is.False);
        }

        printer.Flush();
        Assert.That(Encoding.ASCII.GetString(target.ToArray()), Is.EqualTo(expected + "\nmore"));
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
    }

    [Test]
    public void Raw_TailOverManyBlocks_Counts()
    {
        var path = Path.Combine(TestRun.NewDirectory("raw"), "file");
        File.WriteAllText(path, string.Concat(Enumerable.Range(0, 500_000).Select(i => $"line {i}\n")));
        using var target = new MemoryStream();
        var printer = new Reading.LogPrinter(target, target, sameTarget: true);
        using (var source = Reading.RawSource.Open(path, Reading.LogStream.Stdout, new Reading.LogChoice(Lines: 400_000), text => Assert.Fail(text)))
        {
            source.Pump(printer);
        }

        printer.Flush();
        Assert.That(Encoding.ASCII.GetString(target.ToArray()), Is.EqualTo(string.Concat(Enumerable.Range(100_000, 400_000).Select(i => $"line {i}\n"))));
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
    }

    private static string Lines(int first, int count) => string.Concat(Enumerable.Range(first, count).Select(i => $"line {i}\n"));

    private static long? Bound(string? text) => text is null ? null : Reading.LogTime.ParseBound(text, DateTime.UnixEpoch);

    private static string Text(Random random, int length)
    {
        string[] pieces = ["a", "Z", " ", "\n", "\"", "\\", "ü", "€", "😀", "\t", "\0", "plain text "];
        var text = new StringBuilder();
        while (text.Length < length)
        {
            text.Append(pieces[random.Next(pieces.Length)]);
        }

        return length > 1000 ? text.Replace("\n", "").ToString() : text.ToString();
    }

    private static long BytesRead() =>
        long.Parse(File.ReadLines("/proc/self/io").First().Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);

    private static (byte[] Stdout, byte[] Stderr) Read(TestLog log)
    {
        using var reader = log.Reader();
        var read = Separate(reader);
        Assert.That(reader.Malformed, Is.Zero);
        return read;
    }

    private static (byte[] Stdout, byte[] Stderr) Separate(Reading.RecordReader reader)
    {
        MemoryStream[] streams = [new(), new()];
        while (reader.TryRead(out var record))
        {
            streams[(int)record.Stream].Write(record.Text);
            streams[(int)record.Stream].Write(record.EndsLine ? "\n"u8 : []);
        }

        return (streams[0].ToArray(), streams[1].ToArray());
    }

    private static string All(Reading.RecordReader reader)
    {
        var (stdout, stderr) = Separate(reader);
        Assert.That(stderr, Is.Empty);
        return Encoding.UTF8.GetString(stdout);
    }

    private static List<(int Stream, string Text)> LinesInOrderOfEnd(TestLog log)
    {
        var lines = new List<(int Stream, string Text)>();
        (string Text, int Last)[] open = [("", -1), ("", -1)];
        using var reader = log.Reader();
        for (var i = 0; reader.TryRead(out var record); i++)
        {
            var stream = (int)record.Stream;
            open[stream] = (open[stream].Text + Encoding.ASCII.GetString(record.Text) + (record.EndsLine ? "\n" : ""), i);
            if (record.EndsLine)
            {
                lines.Add((stream, open[stream].Text));
                open[stream] = ("", -1);
            }
        }

        // Both streams were ended last of all: what has no newline ends there.
        lines.AddRange(Enumerable.Range(0, 2).Where(stream => open[stream].Last >= 0).OrderBy(stream => open[stream].Last).Select(stream => (stream, open[stream].Text)));
        return lines;
    }

    private static (string Stdout, string Stderr) Print(TestLog log, bool timestamps, long? since = null, long? until = null)
    {
        using var stdout = new MemoryStream();
        using var stderr = new MemoryStream();
        var printer = new Reading.LogPrinter(stdout, stderr, sameTarget: false, timestamps, since, until);
        using var reader = log.Reader();
        while (reader.TryRead(out var record))
        {
            printer.Print(record);
        }

        printer.Flush();
        return (Encoding.UTF8.GetString(stdout.ToArray()), Encoding.UTF8.GetString(stderr.ToArray()));
    }
}
