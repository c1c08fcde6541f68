using System.Diagnostics;
using System.Text;
using NUnit.Framework;
using Shim.Interop;
using Shim.Stdio.Logs;
using Shim.Tests.Support;
using Shim.Tests.Tasks;

namespace Shim.Tests.Stdio.Logs;

public sealed class LogFileTests
{
    // More than has to be written before a rotation that failed is tried again.
    private const int Retry = 1024 * 1024;

    private readonly List<string> _told = [];
    private string _directory = null!;

    private string Current => Path.Combine(_directory, "log");

    [SetUp]
    public void Prepare()
    {
        _told.Clear();
        _directory = TestRun.NewDirectory("logfile");
    }

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void Open_New_EmptyAndOwnersAlone()
    {
        using var file = Open();
        Assert.That(File.ReadAllBytes(Current), Is.Empty);
        Assert.That(File.GetUnixFileMode(Current), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public void Open_SomethingElseThere_Refused()
    {
        File.WriteAllText(Path.Combine(_directory, "victim"), "untouched");
        File.CreateSymbolicLink(Current, "victim");
        Assert.That(() => Open(), Throws.InstanceOf<IOException>());
        File.Delete(Current);
        Fifo.Create(Current);
        Assert.That(() => Open(), Throws.Exception);
        File.Delete(Current);
        Directory.CreateDirectory(Current);
        Assert.That(() => Open(), Throws.InstanceOf<IOException>());
        Assert.That(File.ReadAllText(Path.Combine(_directory, "victim")), Is.EqualTo("untouched"));
    }

    [Test]
    public void Write_NoLimit_NeverRotates()
    {
        using var file = Open();
        var records = RandomRecords(new Random(1), 2000, 1000);
        WriteAll(file, Join(records));
        Assert.That(File.ReadAllBytes(Current), Is.EqualTo(Join(records)));
        Assert.That(Directory.GetFiles(_directory), Has.Length.EqualTo(1));
    }

    [Test]
    public void Write_Limit_EveryFileFullAndEveryRecordWhole(
        [Values(1, 2, 40, 100, 1000, 4096, 65536)] int maxSize,
        [Values(1, 2, 3, 7, 100)] int maxFiles)
    {
        var random = new Random((maxSize * 1000) + maxFiles);
        var records = RandomRecords(random, maxSize < 10_000 ? 500 : 3000, maxSize < 1000 ? 120 : 900);
        using (var file = Open(maxSize, maxFiles))
        {
            for (var from = 0; from < records.Count;)
            {
                var count = random.Next(1, Math.Min(400, records.Count - from) + 1);
                WriteAll(file, Join(records.GetRange(from, count)));
                from += count;
            }
        }

        var files = LogRecord.Files(Current);
        Assert.That(Directory.GetFiles(_directory), Is.EquivalentTo(files));
        var contents = files.Select(File.ReadAllBytes).ToList();

        // The model: into the current file as long as the next record fits.
        var expected = new List<List<byte>> { new() };
        foreach (var record in records)
        {
            if (expected[^1].Count > 0 && expected[^1].Count + record.Length > maxSize)
            {
                expected.Add([]);
            }

            expected[^1].AddRange(record);
        }

        Assert.That(contents, Is.EqualTo(expected.TakeLast(maxFiles).Select(file => file.ToArray())));
        Assert.That(_told, Is.Empty);
    }

    [Test]
    public void Open_FileFromBefore_ItsSizeCounts()
    {
        File.WriteAllText(Current, "12345678\n");
        using (var file = Open(maxSize: 12))
        {
            WriteAll(file, "ab\n"u8.ToArray());
            WriteAll(file, "c\n"u8.ToArray());
        }

        Assert.That(LogRecord.Files(Current).Select(File.ReadAllText), Is.EqualTo(new[] { "12345678\nab\n", "c\n" }));
    }

    [Test]
    public void Open_FormerWriterDiedInARecord_NextOneStandsAlone()
    {
        File.WriteAllText(Current, "whole\nto");
        using (var file = Open())
        {
            WriteAll(file, "next\nlast\n"u8.ToArray());
        }

        Assert.That(File.ReadAllText(Current), Is.EqualTo("whole\nto\nnext\nlast\n"));
    }

    [Test]
    public void Write_DiskFull_GoesOnWithTheMissingByte([Values(0, 10_000)] int maxSize)
    {
        using var disk = new SmallDisk(256);
        var records = RandomRecords(new Random(7), 60, 3000);
        using (var file = Open(maxSize, 100, disk.File("log")))
        {
            var random = new Random(8);
            var refused = 0;
            var bytes = Join(records);
            for (var at = 0; at < bytes.Length;)
            {
                // Full, one page free, full again ...: the disk takes records in pieces that end anywhere.
                disk.Fill();
                var length = Math.Min(bytes.Length, at + random.Next(1, 20_000));
                var end = Array.IndexOf(bytes, (byte)'\n', length - 1) + 1;
                var next = end == 0 ? bytes.Length : end;
                while (at < next)
                {
                    var count = file.Write(bytes.AsSpan(at, next - at));
                    if (count < 0)
                    {
                        Assert.That(file.LastError, Is.EqualTo(Errno.ENOSPC));
                        Assert.That(refused++, Is.LessThan(1000));
                        disk.Empty();
                    }

                    at += Math.Max(0, count);
                }
            }

            Assert.That(refused, Is.GreaterThan(3), "the disk was never full");
        }

        disk.Empty();
        var files = LogRecord.Files(disk.File("log"));
        Assert.That(files.SelectMany(File.ReadAllBytes), Is.EqualTo(Join(records)));
        Assert.That(files.Select(path => File.ReadAllBytes(path)[^1]), Has.All.EqualTo((byte)'\n'), "a record is split over two files");
        Assert.That(files, Has.Count.GreaterThan(maxSize > 0 ? 5 : 0));
    }

    [Test]
    public void Write_DiskFullBehindATornRecord_NothingIsGluedToIt()
    {
        using var disk = new SmallDisk(64);

        // Not one byte of its page is left.
        File.WriteAllText(disk.File("log"), new string('t', 4096));
        disk.Fill();
        using var file = Open(path: disk.File("log"));
        Assert.That((file.Write("record\n"u8), file.LastError), Is.EqualTo((-1, Errno.ENOSPC)));
        disk.Empty();
        WriteAll(file, "record\n"u8.ToArray());
        Assert.That(File.ReadAllText(disk.File("log")), Is.EqualTo(new string('t', 4096) + "\nrecord\n"));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void Rotate_NoNewFileCanBeCreated_GoesOnInTheOldOneUntilItCan(int maxFiles)
    {
        using var disk = new SmallDisk(32 * 1024, files: 8);
        File.WriteAllText(disk.File("log.1"), "old\n");
        using (var file = Open(1000, maxFiles, disk.File("log")))
        {
            var records = RandomRecords(new Random(3), 10_000, 900);
            List<string> fillers = [.. Enumerable.Range(0, 5).Select(number => disk.File($"filler{number}"))];
            fillers.ForEach(filler => File.WriteAllText(filler, ""));
            for (var i = 0; i < records.Count; i++)
            {
                WriteAll(file, records[i]);
            }

            Assert.That(File.ReadAllBytes(disk.File("log")), Is.EqualTo(Join(records)), "records are lost");
            Assert.That(Join(records), Has.Length.GreaterThan(4 * Retry), "it was not tried again often enough");
            Assert.That(File.ReadAllText(disk.File("log.1")), Is.EqualTo("old\n"));
            Assert.That(_told, Has.Count.EqualTo(1).And.All.Contains("cannot be rotated"));

            fillers.ForEach(File.Delete);
            for (var written = 0; written < 2 * Retry; written += records[^1].Length)
            {
                WriteAll(file, records[^1]);
            }

            Assert.That(new FileInfo(disk.File("log")).Length, Is.LessThanOrEqualTo(1000), "rotation never came back");
        }
    }

    [Test]
    public void Rotate_CurrentFileCannotBeRenamed_NoOldOneIsGivenUpForIt()
    {
        Machine.Require(Environment.IsPrivilegedProcess, "mounting needs root");
        File.WriteAllText(Current, "");
        File.WriteAllText(Current + ".1", "newer\n");
        File.WriteAllText(Current + ".2", "older\n");

        // A mount point keeps its name.
        Call("mount", "--bind", Current, Current);
        try
        {
            using var file = Open(1000, 4);
            var record = Encoding.ASCII.GetBytes(new string('x', 8000) + "\n");
            var written = 0;
            for (; written < 6 * Retry; written += record.Length)
            {
                WriteAll(file, record);
            }

            Assert.That(new FileInfo(Current).Length, Is.EqualTo(written));
            var small = Directory.GetFiles(_directory, "log.*").Where(path => new FileInfo(path).Length < 100).Select(File.ReadAllText);
            Assert.That(small, Is.EquivalentTo(new[] { "newer\n", "older\n" }));
            Assert.That(_told, Has.Count.EqualTo(1));
        }
        finally
        {
            Call("umount", Current);
        }
    }

    [Test]
    public void Reopen_Renamed_NewFileOfThatName()
    {
        using var file = Open();
        WriteAll(file, "one\n"u8.ToArray());
        File.Move(Current, Current + ".away");
        WriteAll(file, "two\n"u8.ToArray());
        Assert.That(file.Reopen(), Is.Null);
        WriteAll(file, "three\n"u8.ToArray());
        Assert.That((File.ReadAllText(Current + ".away"), File.ReadAllText(Current)), Is.EqualTo(("one\ntwo\n", "three\n")));
    }

    [Test]
    public void Reopen_InTheMiddleOfARecord_AfterIt()
    {
        using var disk = new SmallDisk(64);
        using var file = Open(path: disk.File("log"));
        disk.Fill();
        WriteAll(file, []);
        disk.Empty();
        using (var filler = File.OpenWrite(disk.File("filler")))
        {
            filler.Write(new byte[50 * 1024]);
        }

        var record = Encoding.ASCII.GetBytes(new string('x', 30_000) + "\n");
        var count = file.Write(record);
        Assert.That(count, Is.InRange(1, record.Length - 1), "the disk took all or nothing");
        File.Move(disk.File("log"), disk.File("away"));
        Assert.That(file.Reopen(), Is.Null);
        disk.Empty();
        WriteAll(file, record[count..]);
        WriteAll(file, "next\n"u8.ToArray());
        Assert.That(File.ReadAllBytes(disk.File("away")), Is.EqualTo(record));
        Assert.That(File.ReadAllText(disk.File("log")), Is.EqualTo("next\n"));
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Reopen_CannotBeOpened_OldFileStaysInUse(bool directory)
    {
        using var file = Open();
        File.Move(Current, Current + ".away");
        if (directory)
        {
            Directory.CreateDirectory(Current);
        }
        else
        {
            Fifo.Create(Current);
        }

        Assert.That(file.Reopen(), Is.Not.Null);
        WriteAll(file, "still here\n"u8.ToArray());
        Assert.That(File.ReadAllText(Current + ".away"), Is.EqualTo("still here\n"));
    }

    [Test]
    public void Rotate_SomethingElseHasTheName_ReplacedOrToldNeverThrown()
    {
        using var file = Open(20, 2);
        WriteAll(file, "a record\n"u8.ToArray());
        Directory.CreateDirectory(Path.Combine(Current + ".1", "full"));
        for (var i = 0; i < 10; i++)
        {
            WriteAll(file, "another record\n"u8.ToArray());
        }

        Assert.That(File.ReadAllLines(Current), Has.Length.EqualTo(11));
        Assert.That(_told, Has.Count.EqualTo(1));
    }

    private LogFile Open(int maxSize = 0, int maxFiles = 5, string? path = null) => LogFile.Open(
        new LogDirectory(Fd.Open(Path.GetDirectoryName(path ?? Current)!, Libc.O_PATH | Libc.O_DIRECTORY)),
        "log",
        new LogOptions { MaxSize = maxSize, MaxFiles = maxFiles },
        _told.Add);

    private static void WriteAll(LogFile file, byte[] records)
    {
        for (var at = 0; at < records.Length;)
        {
            var count = file.Write(records.AsSpan(at));
            Assert.That(count, Is.GreaterThan(0), $"error {file.LastError}");
            at += count;
        }
    }

    private static List<byte[]> RandomRecords(Random random, int count, int maxLength) =>
        [.. Enumerable.Range(0, count).Select(i => Encoding.ASCII.GetBytes($"{i}:{new string('x', random.Next(maxLength))}\n"))];

    private static byte[] Join(List<byte[]> records) => [.. records.SelectMany(record => record)];

    private static void Call(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        Assert.That(process.WaitForExit(10_000) && process.ExitCode == 0, Is.True, program);
    }
}
