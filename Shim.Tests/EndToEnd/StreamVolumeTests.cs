using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Containerd.Shim.V1;
using NUnit.Framework;
using Shim.Tests.Support;
using Shim.Tests.Tasks;

namespace Shim.Tests.EndToEnd;

/// <summary>Much output and input, in every way in which it can travel: every byte arrives once, in order, and costs the shim nothing that grows.</summary>
public sealed class StreamVolumeTests
{
    private const int MiB = 1024 * 1024;
    private const string Line = "0123456789abcdef";

    private static readonly TimeSpan s_long = TimeSpan.FromMinutes(20);

    private static readonly string s_terminalHash = Convert.ToHexStringLower(
        SHA256.HashData(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(1, 1_000_000).Select(number => $"{number}\r\n")))));

    [TestCase(512)]
    [TestCase(10 * 1024, Category = "Soak")]
    public async Task Output_ToAFifo_ExactAndTheShimIsNotInvolved(int megabytes)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        using var reader = new FifoReader(shim.PathOf("out"), keep: 0, hash: true);
        await RunUninvolvedAsync(shim, reader.Path, megabytes);
        Assert.That(await reader.HashAsync(s_long), Is.EqualTo(BytePattern.HashOfRepeated(Line + "\n", (long)megabytes * MiB)));
    }

    [TestCase(512)]
    [TestCase(10 * 1024, Category = "Soak")]
    public async Task Output_ToAFile_ExactAndTheShimIsNotInvolved(int megabytes)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        await RunUninvolvedAsync(shim, $"file://{shim.PathOf("out")}", megabytes);
        using var file = File.OpenRead(shim.PathOf("out"));
        Assert.That(
            Convert.ToHexStringLower(await SHA256.HashDataAsync(file)), Is.EqualTo(BytePattern.HashOfRepeated(Line + "\n", (long)megabytes * MiB)));
    }

    [TestCase(100)]
    [TestCase(1024, Category = "Soak")]
    public async Task Input_ThroughAFifo_IsHashedInTheContainer(int megabytes)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        using var reader = new FifoReader(shim.PathOf("out"));
        var exec = await shim.Client.ExecAsync(new ExecRequest { Args = { "sha256sum" }, Stdin = shim.MakeFifo("in"), Stdout = reader.Path });
        await BytePattern.WriteToFifoAsync(shim.PathOf("in"), (long)megabytes * MiB).WithinAsync(s_long, "the input being read");
        await shim.Client.CloseStdinAsync(new CloseStdinRequest { Pid = exec.Pid });
        Assert.That((await shim.EndOfAsync(exec.Pid, s_long)).Status, Is.Zero);
        Assert.That(await reader.ReadTextAsync(Poll.Deadline), Does.StartWith(BytePattern.Hash((long)megabytes * MiB)));
    }

    [TestCase(100)]
    [TestCase(1024, Category = "Soak")]
    public async Task InputAndOutput_BothDirectionsAtOnce_NeitherWaitsForTheOther(int megabytes)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        using var reader = new FifoReader(shim.PathOf("out"), keep: 0, hash: true);
        using var errors = new FifoReader(shim.PathOf("err"), keep: 0, hash: true);
        var request = ShimCalls.Shell("tee /dev/stderr");
        (request.Stdin, request.Stdout, request.Stderr) = (shim.MakeFifo("in"), reader.Path, errors.Path);
        var exec = await shim.Client.ExecAsync(request);
        await BytePattern.WriteToFifoAsync(shim.PathOf("in"), (long)megabytes * MiB).WithinAsync(s_long, "the input being read");
        await shim.Client.CloseStdinAsync(new CloseStdinRequest { Pid = exec.Pid });
        Assert.That((await shim.EndOfAsync(exec.Pid, s_long)).Status, Is.Zero);
        var expected = BytePattern.Hash((long)megabytes * MiB);
        Assert.That((await reader.HashAsync(s_long), await errors.HashAsync(s_long)), Is.EqualTo((expected, expected)));
    }

    [TestCase(10)]
    [TestCase(100, Category = "Soak")]
    public async Task Terminal_AMillionLines_AllOfThemEachTime(int times)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        for (var i = 0; i < times; i++)
        {
            using var reader = new FifoReader(shim.PathOf($"out{i}"), keep: 0, hash: true);
            var request = new ExecRequest { Terminal = true, Args = { "seq", "1", "1000000" }, Stdout = reader.Path };

            // Every second time its input is closed before it could have ended.
            request.Stdin = i % 2 == 0 ? "" : shim.MakeFifo($"in{i}");
            var pid = (await shim.Client.ExecAsync(request)).Pid;
            if (i % 2 == 1)
            {
                (await FifoWriter.OpenAsync(request.Stdin, Poll.Deadline)).Dispose();
                await shim.Client.CloseStdinAsync(new CloseStdinRequest { Pid = pid });
            }

            Assert.That((await shim.EndOfAsync(pid)).Status, Is.Zero);
            await shim.DeleteAsync(pid);
            Assert.That(await reader.HashAsync(Poll.Deadline), Is.EqualTo(s_terminalHash), $"run {i}: {reader.Count} bytes");
        }
    }

    [TestCase(100, "cri")]
    [TestCase(100, "docker-json")]
    [TestCase(1024, "cri", Category = "Soak")]
    [TestCase(1024, "docker-json", Category = "Soak")]
    public async Task Log_OneLineWithoutAnEnd_PartsThatMakeTheWhole(int megabytes, string format)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var path = shim.PathOf("log");
        var request = ShimCalls.Shell($"yes '{Line}' | tr -d '\\n' | head -c {megabytes}m");
        request.Stdout = $"log://{path}?format={format}";
        await shim.RunAsync(request, s_long);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (length, shortest) = (0L, int.MaxValue);
        foreach (var record in format == "cri" ? CriLog.ReadAll(path) : DockerJsonLog.ReadAll(path))
        {
            Assert.That((record.IsWhole, record.Stream), Is.EqualTo((false, "stdout")));
            hash.AppendData(record.Text);
            length += record.Text.Length;
            shortest = Math.Min(shortest, record.Text.Length);
        }

        Assert.That(length, Is.EqualTo((long)megabytes * MiB));
        Assert.That(shortest, Is.EqualTo(LogRecord.MaxText), "a part that is shorter than it could be");
        Assert.That(Convert.ToHexStringLower(hash.GetHashAndReset()), Is.EqualTo(BytePattern.HashOfRepeated(Line, length)));
        Assert.That(ProcessCost.Memory(shim.ProcessId), Is.LessThan(48 * MiB));
    }

    [TestCase("cri", "block")]
    [TestCase("cri", "drop")]
    [TestCase("docker-json", "block")]
    [TestCase("docker-json", "drop")]
    public async Task Log_RotationUnderLoad_EveryByteOfBothStreamsInOrder(string format, string policy)
    {
        const int count = 300_000;
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var path = shim.PathOf("log");

        // Characters of three bytes, lines longer than a record, and pieces that end anywhere.
        var longLine = string.Concat(Enumerable.Repeat("€uro", 3500));
        var request = ShimCalls.Shell($"seq 1 {count} & for i in 1 2 3 4 5 6 7 8 9 10; do echo {longLine} >&2; printf 'ä no newline' >&2; done; wait");
        var address = $"log://{path}?format={format}&max-size=1m&max-files=100&on-full={policy}";
        (request.Stdout, request.Stderr) = (address, address);
        await shim.RunAsync(request, s_long);

        var files = LogRecord.Files(path);
        Assert.That(files, Has.Count.LessThan(100), "nothing is deleted yet");
        Assert.That(files.Select(file => new FileInfo(file).Length), Has.All.LessThanOrEqualTo(MiB));
        Assert.That(files.SkipLast(1).Select(file => new FileInfo(file).Length), Has.All.GreaterThan(MiB - (64 * 1024)));
        var records = (format == "cri" ? CriLog.ReadAll(path) : DockerJsonLog.ReadAll(path)).ToList();
        Assert.That(records.Select(record => record.Time), Is.Ordered);
        var numbers = string.Concat(Enumerable.Range(1, count).Select(number => $"{number}\n"));
        var lines = string.Concat(Enumerable.Repeat($"{longLine}\nä no newline", 10));
        if (policy == "block")
        {
            Assert.That(files, Has.Count.GreaterThan(10), "rotated often");
            Assert.That(Encoding.UTF8.GetString(LogRecord.Join(records, "stdout")), Is.EqualTo(numbers));
            Assert.That(Encoding.UTF8.GetString(LogRecord.Join(records, "stderr")), Is.EqualTo(lines));
        }
        else
        {
            // They come faster than any disk is meant to be: what is missing is told, to the byte.
            AssertComplete(records, "stdout", numbers.Length);
            AssertComplete(records, "stderr", Encoding.UTF8.GetByteCount(lines));
        }
    }

    [TestCase("cri")]
    [TestCase("docker-json")]
    public async Task Log_DiskFull_Drop_TheContainerGoesOnAndTheGapIsCounted(string format)
    {
        using var disk = new SmallDisk(16 * 1024);
        await using var shim = await ShimCalls.StartWithContainerAsync();
        disk.Fill();
        var exec = await ExecOnAsync(shim, $"log://{disk.File("log")}?format={format}&on-full=drop");
        await shim.RunAsync(ShimCalls.Shell("until [ -e /tmp/written ]; do sleep 0.05; done"));
        Assert.That(new FileInfo(disk.File("log")).Length, Is.Zero, "the disk was not full");
        disk.Empty();
        await Poll.Until(() => new FileInfo(disk.File("log")).Length > 0, Poll.Deadline, "the next attempt");
        await shim.RunAsync(ShimCalls.Shell("touch /tmp/go"));
        Assert.That((await shim.EndOfAsync(exec)).Status, Is.Zero);
        await shim.DeleteAsync(exec);
        var records = (format == "cri" ? CriLog.ReadAll(disk.File("log")) : DockerJsonLog.ReadAll(disk.File("log"))).ToList();
        Assert.That(records.Any(IsGap), Is.True);
        AssertComplete(records, "stdout", (20 * MiB) + "the end\n".Length);
        Assert.That(Encoding.ASCII.GetString(records[^1].Text), Is.EqualTo("the end"));
        AssertToldOnce(shim);
    }

    [Test]
    public async Task Log_DiskFull_Block_TheContainerWaitsAndNothingIsLost()
    {
        using var disk = new SmallDisk(64 * 1024);
        await using var shim = await ShimCalls.StartWithContainerAsync();
        disk.Fill();
        var exec = await ExecOnAsync(shim, $"log://{disk.File("log")}");

        // It waits for as long as we like, which is told once and not for each attempt.
        await Poll.Until(() => shim.Log.Contains("cannot be written", StringComparison.Ordinal), Poll.Deadline, "a line about the disk");
        await Task.Delay(TimeSpan.FromSeconds(1));
        await shim.RunAsync(ShimCalls.Shell("[ ! -e /tmp/written ]"));
        disk.Empty();
        await shim.RunAsync(ShimCalls.Shell("until [ -e /tmp/written ]; do sleep 0.05; done; touch /tmp/go"));
        Assert.That((await shim.EndOfAsync(exec)).Status, Is.Zero);
        await shim.DeleteAsync(exec);
        var records = CriLog.ReadAll(disk.File("log")).ToList();
        Assert.That(records.Any(IsGap), Is.False);
        AssertComplete(records, "stdout", (20 * MiB) + "the end\n".Length);
        await Poll.Until(() => shim.Log.Contains("can be written again", StringComparison.Ordinal), Poll.Deadline, "a line about the end of it");
        AssertToldOnce(shim);
    }

    [Test]
    public async Task Log_ShortProcessBesideABusyOne_ItsDeletionWaitsForItsOwnOutputAlone([Values("block", "drop")] string policy)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync(null, "--drain-timeout", "30");
        var address = $"log://{shim.PathOf("log")}?max-size=1m&max-files=2&on-full={policy}";
        var busy = ShimCalls.Shell($"yes {new string('x', 100)}");
        busy.Stdout = address;
        var pid = (await shim.Client.ExecAsync(busy)).Pid;
        for (var i = 0; i < 10; i++)
        {
            var request = ShimCalls.Shell("echo short");
            request.Stdout = address;
            var watch = Stopwatch.StartNew();
            await shim.RunAsync(request);
            Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(10)), "it waited for the other one");
        }

        await shim.Client.KillAsync(new KillRequest { Pid = pid, Signal = 9 });
        await shim.EndOfAsync(pid);
        await shim.DeleteAsync(pid);
    }

    [Test]
    public async Task Log_EmptyLines_TheirHeadersDoNotFillTheMemory([Values("block", "drop")] string policy)
    {
        await using var shim = await ShimCalls.StartWithContainerAsync();
        var request = ShimCalls.Shell("yes '' | head -c 3m");
        request.Stdout = $"log://{shim.PathOf("log")}?format=docker-json&on-full={policy}&max-size=50m&max-files=2";
        var exec = await shim.Client.ExecAsync(request);
        var end = shim.EndOfAsync(exec.Pid);
        var most = 0L;
        while (!end.IsCompleted)
        {
            most = Math.Max(most, ProcessCost.Memory(shim.ProcessId));
            await Task.Delay(10);
        }

        Assert.That((await end).Status, Is.Zero);
        await shim.DeleteAsync(exec.Pid);

        // What waits for the disk is limited in both cases; only who drops has two buffers for it.
        Assert.That(most, Is.LessThan((policy == "drop" ? 24 : 12) * MiB));
    }

    private static async Task<uint> ExecOnAsync(ShimFixture shim, string stdout)
    {
        var request = ShimCalls.Shell($"yes {new string('x', 200)} | head -c 20m; touch /tmp/written; until [ -e /tmp/go ]; do sleep 0.05; done; echo the end");
        request.Stdout = stdout;
        return (await shim.Client.ExecAsync(request)).Pid;
    }

    private static void AssertToldOnce(ShimFixture shim) => Assert.That(
        shim.Log.Split('\n').Count(line => line.Contains("cannot be written", StringComparison.Ordinal)), Is.EqualTo(1), shim.Log);

    private static bool IsGap(LogRecord record) => record.IsWhole && Encoding.UTF8.GetString(record.Text).EndsWith("dropped here: the log could not be written fast enough]", StringComparison.Ordinal);

    // What is there and what is told to be missing make the whole.
    private static void AssertComplete(IReadOnlyList<LogRecord> records, string stream, int length)
    {
        var missing = records.Where(record => record.Stream == stream && IsGap(record))
            .Sum(record => long.Parse(Encoding.UTF8.GetString(record.Text)[1..].Split(' ')[0], CultureInfo.InvariantCulture));
        Assert.That(LogRecord.Join(records.Where(record => !IsGap(record)), stream).Length + missing, Is.EqualTo(length), $"{missing} bytes dropped");
    }

    private static async Task RunUninvolvedAsync(ShimFixture shim, string stdout, int megabytes)
    {
        var request = ShimCalls.Shell($"yes {Line} | head -c {megabytes}m");
        request.Stdout = stdout;
        var exec = await shim.Client.ExecAsync(request);
        var (cpu, memory) = (ProcessCost.Cpu(shim.ProcessId), ProcessCost.Memory(shim.ProcessId));
        var end = shim.EndOfAsync(exec.Pid, s_long);
        var most = memory;
        while (!end.IsCompleted)
        {
            most = Math.Max(most, ProcessCost.Memory(shim.ProcessId));
            await Task.WhenAny(end, Task.Delay(100));
        }

        Assert.That((await end).Status, Is.Zero);
        Assert.That(most - memory, Is.LessThan(2 * MiB), "memory that the shim took meanwhile");
        Assert.That(ProcessCost.Cpu(shim.ProcessId) - cpu, Is.LessThan(TimeSpan.FromMilliseconds(100)), "processor time that the shim took meanwhile");
        await shim.DeleteAsync(exec.Pid);
    }
}
