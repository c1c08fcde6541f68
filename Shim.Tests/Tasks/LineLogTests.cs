using System.Text;
using NUnit.Framework;
using Shim.Tasks;
using Shim.Tests.Support;

namespace Shim.Tests.Tasks;

public sealed class LineLogTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    private string _directory = null!;
    private string _path = null!;

    [SetUp]
    public void Prepare()
    {
        _directory = TestRun.NewDirectory("log");
        _path = Path.Combine(_directory, "log");
    }

    [TearDown]
    public void Remove() => Directory.Delete(_directory, recursive: true);

    [Test]
    public void Open_New_EmptyAndOwnersAlone()
    {
        using var log = LineLog.Open(_path);
        Assert.That((log.Length, Read(log).Count), Is.EqualTo((0L, 0)));
        Assert.That(File.GetUnixFileMode(_path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public void Append_Lines_ReadBackInOrderAlsoAfterReopen()
    {
        string[] lines = ["one", "", "three", new('x', 100_000), "äöü"];
        using (var log = LineLog.Open(_path))
        {
            Array.ForEach(lines, line => log.Append(Encoding.UTF8.GetBytes(line)));
            Assert.That(Read(log), Is.EqualTo(lines));
        }

        using var again = LineLog.Open(_path);
        Assert.That(Read(again), Is.EqualTo(lines));
        Assert.That(again.Length, Is.EqualTo(new FileInfo(_path).Length));
        again.Append("more"u8);
        Assert.That(Read(again), Is.EqualTo(lines.Append("more")));
    }

    // 4096 is how much is looked at in one step from the end.
    [TestCase(0)]
    [TestCase(1)]
    [TestCase(4094)]
    [TestCase(4095)]
    [TestCase(4096)]
    [TestCase(4097)]
    [TestCase(20_000)]
    public void Open_TornLastLine_CutOff(int torn)
    {
        File.WriteAllText(_path, "one\ntwo\n" + new string('t', torn));
        using var log = LineLog.Open(_path);
        Assert.That(new FileInfo(_path).Length, Is.EqualTo(8));
        log.Append("three"u8);
        Assert.That(Read(log), Is.EqualTo(new[] { "one", "two", "three" }));
    }

    [Test]
    public void Open_NothingButATornLine_Empty()
    {
        File.WriteAllText(_path, new string('t', 9000));
        using var log = LineLog.Open(_path);
        Assert.That((log.Length, new FileInfo(_path).Length), Is.EqualTo((0L, 0L)));
    }

    [Test]
    public void Open_SymbolicLink_Refused()
    {
        File.WriteAllText(Path.Combine(_directory, "victim"), "untouched");
        File.CreateSymbolicLink(_path, "victim");
        Assert.That(() => LineLog.Open(_path), Throws.InstanceOf<IOException>());
        Assert.That(File.ReadAllText(Path.Combine(_directory, "victim")), Is.EqualTo("untouched"));
    }

    [Test]
    public void ReadFrom_Offset_StartsThere()
    {
        using var log = LineLog.Open(_path);
        log.Append("one"u8);
        var offset = log.Length;
        log.Append("two"u8);
        Assert.That(Read(log, offset), Is.EqualTo(new[] { "two" }));
    }

    [Test]
    public async Task Append_FourReadersMeanwhile_EachSeesEveryLineOnceInOrder()
    {
        const int count = 5000;
        using var log = LineLog.Open(_path);
        var readers = Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
        {
            var reader = log.ReadFrom();
            var seen = new List<string>();
            while (seen.Count < count)
            {
                while (reader.TryRead(out var line))
                {
                    seen.Add(Encoding.UTF8.GetString(line.Span));
                }

                if (seen.Count < count)
                {
                    await reader.WaitAsync(default).WithinAsync(s_limit, "growth");
                }
            }

            return seen;
        })).ToArray();
        for (var i = 0; i < count; i++)
        {
            log.Append(Encoding.UTF8.GetBytes(Line(i)));
        }

        foreach (var reader in readers)
        {
            Assert.That(await reader.WithinAsync(s_limit, "a reader"), Is.EqualTo(Enumerable.Range(0, count).Select(Line)));
        }

        static string Line(int i) => $"{i}:{new string('x', i % 500)}";
    }

    [Test]
    public async Task Append_FromManyThreads_NoLineIsMixedWithAnother()
    {
        using var log = LineLog.Open(_path);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(worker => Task.Run(() =>
        {
            for (var i = 0; i < 500; i++)
            {
                log.Append(Encoding.UTF8.GetBytes($"{worker}-{i}-{new string((char)('a' + worker), 100)}"));
            }
        }))).WithinAsync(s_limit, "appending");
        var lines = Read(log);
        Assert.That(lines, Has.Count.EqualTo(4000).And.Unique);
        Assert.That(lines, Has.All.Matches("^([0-7])-[0-9]+-([a-h])\\2{99}$"));
    }

    [Test]
    public async Task Wait_LineComes_Woken()
    {
        using var log = LineLog.Open(_path);
        var waiting = Enumerable.Range(0, 10).Select(_ => log.WaitForGrowthAsync(0, default)).ToArray();
        Assert.That(waiting, Has.All.Property("IsCompleted").False);
        log.Append("x"u8);
        await Task.WhenAll(waiting).WithinAsync(s_limit, "all waiters");
        Assert.That(log.WaitForGrowthAsync(0, default).IsCompleted, Is.True, "there is something already");
        Assert.That(log.WaitForGrowthAsync(log.Length, default).IsCompleted, Is.False);
    }

    [Test]
    public async Task Wait_Cancelled_OthersGoOnWaiting()
    {
        using var log = LineLog.Open(_path);
        using var cancel = new CancellationTokenSource();
        var one = log.WaitForGrowthAsync(0, cancel.Token);
        var other = log.WaitForGrowthAsync(0, default);
        await cancel.CancelAsync();
        Assert.That(async () => await one, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(other.IsCompleted, Is.False);
        log.Append("x"u8);
        await other.WithinAsync(s_limit, "the other");
    }

    [Test]
    public async Task Dispose_Waiters_Woken()
    {
        var log = LineLog.Open(_path);
        var waiting = log.WaitForGrowthAsync(0, default);
        log.Dispose();
        await waiting.WithinAsync(s_limit, "the waiter");
        Assert.That(log.WaitForGrowthAsync(0, default).IsCompleted, Is.True);
        Assert.That(() => log.Append("x"u8), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Append_DiskFull_ThrowsAndLeavesNothingHalfWritten()
    {
        using var disk = new SmallDisk(64);
        using var log = LineLog.Open(disk.File("log"));
        log.Append("first"u8);
        disk.Fill();

        // The first page has room for most of it: a short write, then the error.
        var line = Encoding.UTF8.GetBytes(new string('x', 10_000));
        for (var attempt = 0; attempt < 3; attempt++)
        {
            Assert.That(() => log.Append(line), Throws.InstanceOf<IOException>());
            Assert.That((log.Length, new FileInfo(disk.File("log")).Length), Is.EqualTo((6L, 6L)));
        }

        Assert.That(Read(log), Is.EqualTo(new[] { "first" }));
        disk.Empty();
        log.Append(line);
        log.Append("last"u8);
        Assert.That(Read(log), Is.EqualTo(new[] { "first", new('x', 10_000), "last" }));
    }

    [Test]
    public void Read_FileBecameShorter_SaysSoInsteadOfWaiting()
    {
        using var log = LineLog.Open(_path);
        log.Append("one"u8);
        using (var other = File.OpenWrite(_path))
        {
            other.SetLength(0);
        }

        Assert.That(() => Read(log), Throws.InstanceOf<IOException>().With.Message.Contains(_path));
    }

    private static List<string> Read(LineLog log, long offset = 0)
    {
        var lines = new List<string>();
        var reader = log.ReadFrom(offset);
        while (reader.TryRead(out var line))
        {
            lines.Add(Encoding.UTF8.GetString(line.Span));
        }

        Assert.That(reader.Offset, Is.EqualTo(log.Length));
        return lines;
    }
}
