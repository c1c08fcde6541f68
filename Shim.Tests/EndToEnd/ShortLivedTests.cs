using System.Diagnostics;
using System.Globalization;
using System.Text;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.EndToEnd;

/// <summary>Containers that end before anybody has looked, and shims that do.</summary>
public sealed class ShortLivedTests
{
    private const int AtOnce = 4;

    // Into a file named after the container.
    private const string Logger = "#!/bin/sh\nexec 5>&-\nexec cat <&3 >$2/$CONTAINER_ID\n";

    private string _loggers = null!;
    private string _output = null!;

    [SetUp]
    public void Prepare()
    {
        _loggers = TestRun.NewDirectory("loggers");
        _output = TestRun.NewDirectory("output");
        var path = Path.Combine(_loggers, "logger");
        File.WriteAllText(path, Logger);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    [TearDown]
    public void Remove()
    {
        Directory.Delete(_loggers, recursive: true);
        Directory.Delete(_output, recursive: true);
    }

    [TestCase("fifo", 50)]
    [TestCase("file", 50)]
    [TestCase("cri", 50)]
    [TestCase("docker-json", 50)]
    [TestCase("binary", 50)]
    [TestCase("fifo", 1000, Category = "Soak")]
    [TestCase("file", 1000, Category = "Soak")]
    [TestCase("cri", 1000, Category = "Soak")]
    [TestCase("docker-json", 1000, Category = "Soak")]
    [TestCase("binary", 1000, Category = "Soak")]
    public async Task ShortContainers_AllOfTheirOutput(string kind, int count)
    {
        await using var supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Arguments = ["--logger-dir", _loggers] });
        var next = 0;
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(async _ =>
        {
            while (Interlocked.Increment(ref next) <= count)
            {
                Assert.That(await OutputOfOneAsync(supervisor, kind), Is.EqualTo("a\nno-newline"));
            }
        }));
    }

    [TestCase(50)]
    [TestCase(500, Category = "Soak")]
    public async Task ShimIsKilledAtItsStart_NothingPilesUpInTheSupervisor(int count)
    {
        // The shim is killed after as many milliseconds as the file says.
        var (delay, script) = (Path.Combine(_output, "delay"), Path.Combine(_loggers, "shim"));
        await File.WriteAllTextAsync(
            script, $"#!/bin/sh\n(sleep $(cat {delay}); kill -9 $$) </dev/null >/dev/null 2>&1 &\nexec {Path.Combine(TestRun.Binaries, "shim")} \"$@\"\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        await using var supervisor = await SupervisorFixture.StartAsync(new SupervisorSettings { Shim = script });
        var (descriptors, threads, failed) = (0, 0, 0);
        for (var i = 0; i < count; i++)
        {
            await File.WriteAllTextAsync(delay, (i % 25 * 0.004).ToString("0.000", CultureInfo.InvariantCulture));
            var id = TestRun.NewName("dying");
            using var reader = new FifoReader(Path.Combine(supervisor.NewDirectory(), "out"));
            var watch = Stopwatch.StartNew();
            try
            {
                await TestContainer.CreateAsync(supervisor, id: id, streams: request => request.Stdout = reader.Path);
            }
            catch (RpcException)
            {
                failed++;
            }

            Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(20)), "somebody waited for a shim that was dead");
            using var deletion = supervisor.Containers.DeleteContainerAsync(new Containerd.V1.DeleteContainerRequest { Id = id });
            Assert.That((await Refusal.OutcomeAsync(deletion)).StatusCode, Is.EqualTo(StatusCode.OK).Or.EqualTo(StatusCode.NotFound));
            if (i == 9)
            {
                (descriptors, threads) = (ProcessCost.Descriptors(supervisor.ProcessId), ProcessCost.Threads(supervisor.ProcessId));
            }
        }

        Assert.That(failed, Is.GreaterThan(count / 10), "shims died too late");
        await Poll.For(() => ProcessCost.Descriptors(supervisor.ProcessId), now => now <= descriptors + 2, Poll.Deadline, $"descriptors, {descriptors} after ten");

        // The pool of the runtime grows under load, and shrinks by itself.
        await Poll.For(() => ProcessCost.Threads(supervisor.ProcessId), now => now <= threads + 4, TimeSpan.FromSeconds(40), $"threads, {threads} after ten");
    }

    private async Task<string> OutputOfOneAsync(SupervisorFixture supervisor, string kind)
    {
        var id = TestRun.NewName("short");
        var path = Path.Combine(_output, id);
        using var reader = kind == "fifo" ? new FifoReader(path) : null;
        var address = kind switch
        {
            "fifo" => path,
            "file" => $"file://{path}",
            "binary" => $"binary://{Path.Combine(_loggers, "logger")}?into={_output}",
            _ => $"log://{path}?format={kind}",
        };
        var container = await TestContainer.RunAsync(
            supervisor, bundle => bundle.Script("printf 'a\\nno-newline'"), id, request => request.Stdout = address);
        await container.WaitAsync();
        await container.DeleteAsync();
        return kind switch
        {
            "fifo" => await reader!.ReadTextAsync(Poll.Deadline),
            "cri" => Encoding.ASCII.GetString(LogRecord.Join(CriLog.ReadAll(path), "stdout")),
            "docker-json" => Encoding.ASCII.GetString(LogRecord.Join(DockerJsonLog.ReadAll(path), "stdout")),
            _ => await File.ReadAllTextAsync(path),
        };
    }
}
