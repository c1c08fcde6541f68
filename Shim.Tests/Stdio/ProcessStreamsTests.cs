using System.Diagnostics;
using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

/// <summary>FIFOs and files, which the process gets directly.</summary>
[TestFixture]
internal sealed class ProcessStreamsTests : StreamTest
{
    [TestCase("relative", "not absolute")]
    [TestCase("fifo://relative/path", "not absolute")]
    [TestCase("file://host", "not absolute")]
    [TestCase("file://", "not absolute")]
    [TestCase("tcp://127.0.0.1:80", "unknown scheme \"tcp\"")]
    [TestCase("FIFO:///x", "unknown scheme \"FIFO\"")]
    [TestCase("/tmp/a\0b", "NUL")]
    [TestCase("file:///tmp/a%00b", "NUL")]
    [TestCase("DIR/missing", "no such file")]
    [TestCase("fifo://DIR/missing", "no such file")]
    [TestCase("DIR/missing/deep", "no such file")]
    [TestCase("file://DIR/missing/deep", "No such file")]
    [TestCase("file://DIR/../x", "..")]
    [TestCase("DIR", "a directory")]
    [TestCase("file://DIR", "a directory")]
    [TestCase("file://DIR/pipe", "not a regular file")]
    [TestCase("file:///dev/null", "not a regular file")]
    [TestCase("fifo://DIR/regular", "not a FIFO")]
    [TestCase("/dev/zero", "neither")]
    [TestCase("DIR/link-to-pipe", "neither")]
    [TestCase("file://DIR/link-to-regular", "not a regular file")]
    public void Open_UnusableAddress_InvalidArgumentAndNothingLeftOpen(string address, string reason)
    {
        File.WriteAllText(Path.Combine(Directory, "regular"), "");
        Fifo("pipe");
        File.CreateSymbolicLink(Path.Combine(Directory, "link-to-pipe"), Path.Combine(Directory, "pipe"));
        File.CreateSymbolicLink(Path.Combine(Directory, "link-to-regular"), Path.Combine(Directory, "regular"));
        var good = Fifo("good");
        address = address.Replace("DIR", Directory, StringComparison.Ordinal);
        // Loop and inotify exist already, so that they don't count as left over.
        ProcessStreams.Open(new StreamAddresses(good, good, "", false), Services).Dispose();
        ProcessStreams.Open(new StreamAddresses("", "", "", true), Services).Dispose();
        var before = OpenDescriptors();

        foreach (var addresses in new StreamAddresses[]
        {
            new(good, address, "", false), new(good, good, address, false), new(good, address, "", true),
        })
        {
            var failure = Assert.Throws<TaskException>(() => ProcessStreams.Open(addresses, Services));
            Assert.That(failure!.Kind, Is.EqualTo(ErrorKind.InvalidArgument));
            Assert.That(failure.Message, Does.Contain(reason).And.Contain("std"));
        }

        AssertNoneLeftOpen(before);
    }

    [TestCase("relative")]
    [TestCase("file://DIR/missing")]
    [TestCase("DIR/missing")]
    public void Open_UnusableStdin_InvalidArgument(string address)
    {
        address = address.Replace("DIR", Directory, StringComparison.Ordinal);
        foreach (var terminal in new[] { false, true })
        {
            var failure = Assert.Throws<TaskException>(() => ProcessStreams.Open(new StreamAddresses(address, "", "", terminal), Services));
            Assert.That(failure!.Kind, Is.EqualTo(ErrorKind.InvalidArgument));
            Assert.That(failure.Message, Does.Contain("stdin"));
        }
    }

    [Test]
    public void Open_NoAddresses_NullDeviceAndNoThread()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses("", "", "/dev/null", false), Services);
        Assert.That(Run(streams, "cat; echo out; echo err >&2; test /proc/self/fd/1 -ef /dev/null").Wait(), Is.Zero);
        streams.ReleaseChildEnds();
        streams.ProcessExited();
        Await(streams.DrainAsync(Patience, CancellationToken.None));
        Assert.That(Loop.IsRunning, Is.False);
        Assert.That(streams.HasTerminal, Is.False);
    }

    [TestCase("")]
    [TestCase("fifo://")]
    public void Output_ReaderFromTheStart_CompleteAndEnds(string scheme)
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", scheme + fifo, "", false), Services);
        var reader = new FifoReader(fifo);
        var child = Run(streams, "seq 1 200000; printf no-newline");
        streams.ReleaseChildEnds();
        Assert.That(child.Wait(), Is.Zero);
        Assert.That(reader.Ended, Is.False, "the keeper must hold the end back until the exit is known");
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Does.EndWith("200000\nno-newline"));
        Assert.That(Loop.IsRunning, Is.False, "plain output needs no thread");
        Await(streams.DrainAsync(Patience, CancellationToken.None));
    }

    [Test]
    public void Output_NoReaderBeforeTheExit_BytesWaitForOne()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        var child = Run(streams, "printf 'a\\nno-newline'");
        streams.ReleaseChildEnds();
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        var drained = streams.DrainAsync(Patience, CancellationToken.None);
        Thread.Sleep(150);
        Assert.That(drained.IsCompleted, Is.False);

        Assert.That(new FifoReader(fifo).ReadToEnd(), Is.EqualTo("a\nno-newline"));
        Await(drained);
    }

    [Test]
    public void Output_ReaderThatTakesAPartAndLeaves_RestWaits()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        Assert.That(Run(streams, "printf abcdef").Wait(), Is.Zero);
        streams.ReleaseChildEnds();
        // While the process counts as running, readers come and go.
        using (var first = Fd.Open(fifo, Libc.O_RDONLY | Libc.O_NONBLOCK))
        {
            Assert.That(Fd.Read(first, new byte[2]), Is.EqualTo(2));
        }

        streams.ProcessExited();
        Assert.That(new FifoReader(fifo).ReadToEnd(), Is.EqualTo("cdef"));
        Await(streams.DrainAsync(Patience, CancellationToken.None));
    }

    [Test]
    public void Output_NothingWrittenAndNoReader_DeliveredAtOnce()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, fifo, false), Services);
        Assert.That(Run(streams, "true").Wait(), Is.Zero);
        streams.ReleaseChildEnds();
        streams.ProcessExited();
        Assert.That(streams.DrainAsync(Patience, CancellationToken.None).IsCompleted, Is.True);
    }

    [Test]
    public void Output_ReadersComeAndGo_ProcessUnharmedAndNoByteLost()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        var child = Run(streams, "trap '' PIPE; for i in $(seq 1 3000); do echo $i || exit 9; done");
        streams.ReleaseChildEnds();
        var text = new MemoryStream();
        var buffer = new byte[512];
        for (var visit = 0; visit < 15; visit++)
        {
            using var reader = Fd.Open(fifo, Libc.O_RDONLY);
            var count = Fd.Read(reader, buffer);
            text.Write(buffer, 0, count);
        }

        var last = new FifoReader(fifo);
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        var all = System.Text.Encoding.UTF8.GetString(text.ToArray()) + last.ReadToEnd();
        Assert.That(all, Is.EqualTo(string.Concat(Enumerable.Range(1, 3000).Select(i => $"{i}\n"))));
    }

    /// <summary>The negative control: what the keeper is for.</summary>
    [Test]
    public void Output_WithoutKeeperAndReader_ProcessGetsBrokenPipe()
    {
        var fifo = Fifo("out");
        using var input = Fd.Open("/dev/null", Libc.O_RDONLY);
        using var reader = Fd.Open(fifo, Libc.O_RDONLY | Libc.O_NONBLOCK);
        using var writer = Fd.Open(fifo, Libc.O_WRONLY);
        reader.Dispose();
        using var child = TestChild.Start("trap '' PIPE; echo x 2>/dev/null || exit 9", input, writer, writer);
        Assert.That(child.Wait(), Is.EqualTo(9));
    }

    [Test]
    public void Output_FullAndNobodyReads_ProcessWaitsAndDrainIsBounded()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        var child = Run(streams, "yes");
        streams.ReleaseChildEnds();
        Thread.Sleep(200);
        Assert.That(child.HasExited, Is.False);
        child.Kill();
        Assert.That(child.Wait(), Is.EqualTo(137));
        streams.ProcessExited();
        var clock = Stopwatch.StartNew();
        Await(streams.DrainAsync(TimeSpan.FromMilliseconds(300), CancellationToken.None));
        Assert.That(clock.ElapsedMilliseconds, Is.InRange(250, 2000));
    }

    [Test]
    public void Output_BackgroundChildHoldsIt_DrainDoesNotWaitAndReaderEndsWithTheChild()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        var reader = new FifoReader(fifo);
        var child = Run(streams, "echo ok; (sleep 1; echo late) & exit 3");
        streams.ReleaseChildEnds();
        Assert.That(child.Wait(), Is.EqualTo(3));
        streams.ProcessExited();
        Eventually(() => reader.Text == "ok\n", "the first output");
        Assert.That(streams.DrainAsync(Patience, CancellationToken.None).IsCompleted, Is.True);
        Assert.That(reader.Ended, Is.False);
        Assert.That(reader.ReadToEnd(), Is.EqualTo("ok\nlate\n"));
    }

    [Test]
    public void Drain_Cancelled_ClosesAllTheSame()
    {
        var fifo = Fifo("out");
        var before = OpenDescriptors();
        var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", false), Services);
        Assert.That(Run(streams, "echo x").Wait(), Is.Zero);
        using var caller = new CancellationTokenSource(100);
        Assert.That(async () => await streams.DrainAsync(Patience, caller.Token), Throws.InstanceOf<OperationCanceledException>());
        Loop.Dispose();
        // The child's pidfd is still open.
        AssertNoneLeftOpen(before + 1);
    }

    [Test]
    public void File_StdoutAndStderrTheSame_AppendedInOrderOwnerOnly()
    {
        var path = Path.Combine(Directory, "a log");
        var address = $"file://{Directory}/a%20log";
        foreach (var round in new[] { "one", "two" })
        {
            using var streams = ProcessStreams.Open(new StreamAddresses("", address, address, false), Services);
            Assert.That(streams.ChildStderr, Is.SameAs(streams.ChildStdout));
            Assert.That(Run(streams, $"echo {round}; echo err >&2; echo end").Wait(), Is.Zero);
            streams.ReleaseChildEnds();
            Await(streams.DrainAsync(Patience, CancellationToken.None));
        }

        Assert.That(File.ReadAllText(path), Is.EqualTo("one\nerr\nend\ntwo\nerr\nend\n"));
        Assert.That(File.GetUnixFileMode(path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public void File_ExistingPath_AppendedAndReadAsStdin()
    {
        var input = Path.Combine(Directory, "in");
        var output = Path.Combine(Directory, "out");
        File.WriteAllText(input, "given");
        File.WriteAllText(output, "before ");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", false), Services);
        Assert.That(Run(streams, "cat").Wait(), Is.Zero);
        Assert.That(File.ReadAllText(output), Is.EqualTo("before given"));
    }

    [Test]
    public void ChildEnds_Always_Blocking()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses(Fifo("in"), Fifo("out"), Path.Combine("file://" + Directory, "err"), false), Services);
        foreach (var end in new[] { streams.ChildStdin, streams.ChildStdout, streams.ChildStderr })
        {
            Assert.That(Libc.Fcntl(Fd.Number(end), Libc.F_GETFL, 0) & Libc.O_NONBLOCK, Is.Zero);
        }
    }

    [Test]
    public void Stdin_NobodyEverOpens_OpenReturnsAndExitEndsIt()
    {
        var clock = Stopwatch.StartNew();
        using var streams = ProcessStreams.Open(new StreamAddresses(Fifo("in"), "", "", false), Services);
        var child = Run(streams, "cat");
        streams.ReleaseChildEnds();
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(1000));
        Thread.Sleep(100);
        Assert.That(child.HasExited, Is.False);
        streams.CloseStdin();
        streams.CloseStdin();
        Assert.That(child.Wait(), Is.Zero);
    }

    [TestCase("")]
    [TestCase("hello\n")]
    public void Stdin_WriterClosesBeforeTheProcessRuns_ProcessReadsAllAndTheEnd(string text)
    {
        var input = Fifo("in");
        var output = Path.Combine(Directory, "out");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, "file://" + output, "", false), Services);
        WriteAndClose(input, text);
        var child = Run(streams, "cat; exit 4");
        streams.ReleaseChildEnds();
        Assert.That(child.Wait(), Is.EqualTo(4));
        Assert.That(File.ReadAllText(output), Is.EqualTo(text));
    }

    /// <summary>A client that was there first waits in open(2) until we open the other end; then it writes and closes at once.</summary>
    [Test]
    public void Stdin_WriterWaitedForUsAndClosesAtOnce_ProcessReadsTheEnd()
    {
        for (var round = 0; round < 50; round++)
        {
            var input = Fifo($"in{round}");
            var client = new Thread(() =>
            {
                using var writer = Fd.Open(input, Libc.O_WRONLY);
                Fd.WriteAll(writer, "x"u8);
            });
            client.Start();
            using var streams = ProcessStreams.Open(new StreamAddresses(input, "", "", false), Services);
            Assert.That(Run(streams, "test \"$(cat)\" = x").Wait(10_000), Is.Zero);
            streams.ReleaseChildEnds();
            Assert.That(client.Join(Patience), Is.True);
        }
    }

    [Test]
    public void Stdin_OneOfTwoWritersCloses_EndComesWithTheOther()
    {
        var input = Fifo("in");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, "", "", false), Services);
        var child = Run(streams, "cat");
        streams.ReleaseChildEnds();
        using var stays = Fd.Open(input, Libc.O_WRONLY);
        WriteAndClose(input, "x");
        Thread.Sleep(150);
        Assert.That(child.HasExited, Is.False);
        stays.Dispose();
        Assert.That(child.Wait(5000), Is.Zero);
    }

    [Test]
    public void Stdin_KeepOpen_WritersComeAndGoUntilClosed()
    {
        var input = Fifo("in");
        var output = Path.Combine(Directory, "out");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, "file://" + output, "", false), Services, stdinPolicy: StdinPolicy.KeepOpen);
        var child = Run(streams, "cat");
        streams.ReleaseChildEnds();
        foreach (var text in new[] { "one ", "two ", "three" })
        {
            WriteAndClose(input, text);
            Thread.Sleep(30);
        }

        Assert.That(child.HasExited, Is.False);
        streams.CloseStdin();
        Assert.That(child.Wait(), Is.Zero);
        Assert.That(File.ReadAllText(output), Is.EqualTo("one two three"));
        Assert.That(Loop.IsRunning, Is.False);
    }

    [Test]
    public void Stdin_ProcessClosesIt_ClientGetsBrokenPipe()
    {
        var input = Fifo("in");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, "", "", false), Services);
        using var client = Fd.Open(input, Libc.O_WRONLY);
        var child = Run(streams, "exec <&-; sleep 60");
        streams.ReleaseChildEnds();
        Eventually(() => Fd.Write(client, "x"u8) == -1 && Errno.Last == Errno.EPIPE, "the broken pipe");
        child.Kill();
    }

    [Test]
    public void Stdin_LargeInputThroughToOutput_Unchanged()
    {
        var input = Fifo("in");
        var output = Fifo("out");
        var bytes = new byte[8 * 1024 * 1024];
        new Random(1).NextBytes(bytes);
        using var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", false), Services);
        var child = Run(streams, "cat | sha256sum");
        streams.ReleaseChildEnds();
        var reader = new FifoReader(output);
        using (var writer = Fd.Open(input, Libc.O_WRONLY))
        {
            Fd.WriteAll(writer, bytes);
        }

        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Does.StartWith(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))));
    }

    [Test]
    public void Descriptors_ManyProcessesOneAfterTheOther_Constant()
    {
        var input = Fifo("in");
        var output = Fifo("out");
        void Once(int round)
        {
            var streams = ProcessStreams.Open(new StreamAddresses(input, output, round % 2 == 0 ? output : "", false), Services);
            using (var reader = Fd.Open(output, Libc.O_RDONLY | Libc.O_NONBLOCK))
            {
                if (round % 3 == 0)
                {
                    WriteAndClose(input, "x");
                }

                streams.ReleaseChildEnds();
                streams.ProcessExited();
            }

            if (round % 5 == 0)
            {
                streams.Dispose();
            }
            else
            {
                Await(streams.DrainAsync(Patience, CancellationToken.None));
            }
        }

        for (var round = 0; round < 50; round++)
        {
            Once(round);
        }

        var before = OpenDescriptors();
        for (var round = 0; round < 3000; round++)
        {
            Once(round);
        }

        AssertNoneLeftOpen(before);
    }

    [Test]
    public void Resize_WithoutTerminal_Precondition()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses("", "", "", false), Services);
        Assert.That(() => streams.Resize(80, 24), Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.Precondition));
    }
}
