using System.Diagnostics;
using System.Globalization;
using NUnit.Framework;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

/// <summary>What tests of streams have in common: a directory with FIFOs, a loop that must not log, real children, readers on threads.</summary>
[NonParallelizable] // They count the descriptors of this process.
internal abstract class StreamTest
{
    protected static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly List<string> _log = [];
    private readonly List<TestChild> _children = [];

    protected string Directory { get; private set; } = "";

    protected StreamServices Services { get; private set; } = null!;

    protected EventLoop Loop => Services.Loop;

    [SetUp]
    public void MakeDirectoryAndLoop()
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("shim-stdio-").FullName;
        _log.Clear();
        Services = new StreamServices(new Reaper(static _ => { }), line =>
        {
            lock (_log)
            {
                _log.Add(line);
            }
        });
    }

    [TearDown]
    public void RemoveAll()
    {
        foreach (var child in _children)
        {
            child.Dispose();
        }

        _children.Clear();
        Services.Dispose();
        Eventually(() => !Services.Loop.IsRunning && !Services.LogLoop.IsRunning, "the loops' end");
        System.IO.Directory.Delete(Directory, recursive: true);
        Assert.That(_log, Is.Empty, "the loop logged failures");
    }

    /// <summary>A new FIFO's path.</summary>
    protected string Fifo(string name)
    {
        var path = Path.Combine(Directory, name);
        Assert.That(Libc.MkFifo(path, 0x180), Is.Zero);
        return path;
    }

    /// <summary>Makes a FIFO that is open somewhere as small as it can be: one page.</summary>
    protected static void Shrink(string fifo)
    {
        using var end = Fd.Open(fifo, Libc.O_RDWR | Libc.O_NONBLOCK);
        Assert.That(Libc.Fcntl(Fd.Number(end), Libc.F_SETPIPE_SZ, 4096), Is.EqualTo(4096));
    }

    /// <summary>Runs a shell script with the streams' child ends, as the runtime would.</summary>
    protected TestChild Run(ProcessStreams streams, string script, bool newSession = false)
    {
        var child = TestChild.Start(script, streams.ChildStdin, streams.ChildStdout, streams.ChildStderr, newSession);
        _children.Add(child);
        return child;
    }

    /// <summary>Runs a shell script whose stdin, stdout and stderr are the terminal, which also is its controlling one.</summary>
    protected TestChild RunOn(ProcessStreams streams, TestTerminal terminal, string script) =>
        Run(streams, $"exec <>{terminal.SlavePath} >&0 2>&1\n{script}", newSession: true);

    /// <summary>Polls until the condition holds.</summary>
    protected static void Eventually(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.That(clock.Elapsed, Is.LessThan(Patience), $"{what} did not happen in time");
            Thread.Sleep(5);
        }
    }

    /// <summary>How many descriptors this process has open, assemblies apart, which the test host opens whenever it likes.</summary>
    protected static int OpenDescriptors() => DescriptorTargets().Count;

    /// <summary>Waits until no more descriptors are open than before; else tells which.</summary>
    protected static void AssertNoneLeftOpen(int before)
    {
        var clock = Stopwatch.StartNew();
        while (OpenDescriptors() > before)
        {
            if (clock.Elapsed > Patience)
            {
                var kinds = DescriptorTargets().CountBy(target => target);
                Assert.Fail($"{OpenDescriptors()} descriptors instead of {before}: {string.Join(", ", kinds.Select(kind => $"{kind.Value} x {kind.Key}"))}");
            }

            Thread.Sleep(5);
        }
    }

    private static List<string> DescriptorTargets() =>
        [.. System.IO.Directory.GetFileSystemEntries("/proc/self/fd")
            .Select(path => new FileInfo(path).LinkTarget)
            .OfType<string>()
            .Where(target => !target.EndsWith(".dll", StringComparison.Ordinal))];

    /// <summary>Waits a second in which nothing should happen, and fails if the loop's thread was busy meanwhile.</summary>
    protected static void AssertLoopSleeps()
    {
        var before = LoopCpuTime();
        Thread.Sleep(1000);
        Assert.That((LoopCpuTime() - before).TotalMilliseconds, Is.LessThan(20), "the loop is busy with nothing");
    }

    private static TimeSpan LoopCpuTime()
    {
        foreach (var task in System.IO.Directory.GetDirectories("/proc/self/task"))
        {
            if (File.ReadAllText($"{task}/comm").Trim() == "streams")
            {
                return TimeSpan.FromMicroseconds(long.Parse(File.ReadAllText($"{task}/schedstat").Split(' ')[0], CultureInfo.InvariantCulture) / 1000);
            }
        }

        throw new InvalidOperationException("no thread is called streams");
    }

    /// <summary>Completes within the patience, or the test fails.</summary>
    protected static void Await(Task task) => Assert.That(task.Wait(Patience), Is.True, "it did not complete in time");

    /// <summary>Opens a FIFO for writing as a client does, writes and closes.</summary>
    protected static void WriteAndClose(string path, string text)
    {
        using var writer = Fd.Open(path, Libc.O_WRONLY | Libc.O_NONBLOCK);
        Fd.SetNonBlocking(writer, false);
        Fd.WriteAll(writer, System.Text.Encoding.UTF8.GetBytes(text));
    }
}
