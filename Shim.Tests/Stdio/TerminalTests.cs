using System.Diagnostics;
using System.Globalization;
using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

/// <summary>Terminals, whose bytes are relayed.</summary>
[TestFixture]
internal sealed class TerminalTests : StreamTest
{
    [Test]
    public void ChildEnds_Terminal_NullDevice()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses("", "", "", true), Services);
        Assert.That(Run(streams, "for f in 0 1 2; do test /proc/self/fd/$f -ef /dev/null || exit 1; done").Wait(), Is.Zero);
        Assert.That(streams.HasTerminal, Is.True);
    }

    [Test]
    public void Output_MillionLinesAndExit_Complete()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        var reader = new FifoReader(fifo);
        var child = Start(streams, "seq 1 1000000");
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        AssertSequence(reader.ReadToEnd(), 1_000_000);
        Await(streams.DrainAsync(Patience, CancellationToken.None));
    }

    [Test]
    public void Output_EightTerminalsAtOnce_AllComplete()
    {
        const int Lines = 1_000_000;
        var all = Enumerable.Range(0, 8).Select(number =>
        {
            var fifo = Fifo($"out{number}");
            var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
            return (Streams: streams, Reader: new FifoReader(fifo), Child: Start(streams, $"seq 1 {Lines}"));
        }).ToList();
        foreach (var (streams, _, child) in all)
        {
            Assert.That(child.Wait(120_000), Is.Zero);
            streams.ProcessExited();
        }

        foreach (var (streams, reader, _) in all)
        {
            AssertSequence(reader.ReadToEnd(), Lines);
            Await(streams.DrainAsync(Patience, CancellationToken.None));
        }
    }

    /// <summary>The end of a short process is where output gets lost, if anywhere.</summary>
    [Test]
    public void Output_ManyShortProcesses_LastLineAlwaysThere()
    {
        for (var round = 0; round < 100; round++)
        {
            var fifo = Fifo($"out{round}");
            using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
            var child = Start(streams, "seq 1 500; printf no-newline");
            Assert.That(child.Wait(), Is.Zero);
            streams.ProcessExited();
            var reader = new FifoReader(fifo);
            var text = reader.ReadToEnd();
            Assert.That(text, Does.EndWith("\n500\r\nno-newline"), $"round {round}");
            Await(streams.DrainAsync(Patience, CancellationToken.None));
        }
    }

    [Test]
    public void Output_NoReader_BlocksOnlyItsOwnProcess()
    {
        var unread = Fifo("unread");
        var read = Fifo("read");
        using var blocked = ProcessStreams.Open(new StreamAddresses("", unread, "", true), Services);
        using var other = ProcessStreams.Open(new StreamAddresses("", read, "", true), Services);
        var blockedChild = Start(blocked, "seq 1 100000");
        Thread.Sleep(200);
        Assert.That(blockedChild.HasExited, Is.False, "back-pressure");
        AssertLoopSleeps();

        var reader = new FifoReader(read);
        var child = Start(other, "seq 1 100000");
        Assert.That(child.Wait(), Is.Zero);
        other.ProcessExited();
        AssertSequence(reader.ReadToEnd(), 100_000);

        // Nothing was lost meanwhile: a late reader gets it all, though the first one that comes leaves again.
        using (var visitor = Fd.Open(unread, Libc.O_RDONLY))
        {
        }

        var late = new FifoReader(unread);
        Assert.That(blockedChild.Wait(), Is.Zero);
        blocked.ProcessExited();
        AssertSequence(late.ReadToEnd(), 100_000);
    }

    [Test]
    public void Output_NoReaderUntilAfterTheExit_AllKept()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        // More than the FIFO takes, less than FIFO, relay and terminal together.
        Shrink(fifo);
        var child = Start(streams, "seq 1 1500");
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        var drained = streams.DrainAsync(Patience, CancellationToken.None);
        Thread.Sleep(100);
        Assert.That(drained.IsCompleted, Is.False);
        AssertSequence(new FifoReader(fifo).ReadToEnd(), 1_500);
        Await(drained);
    }

    [Test]
    public void Output_NoReaderEver_DrainIsBounded()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        Shrink(fifo);
        Assert.That(Start(streams, "seq 1 1500").Wait(), Is.Zero);
        streams.ProcessExited();
        var clock = Stopwatch.StartNew();
        Await(streams.DrainAsync(TimeSpan.FromMilliseconds(300), CancellationToken.None));
        Assert.That(clock.ElapsedMilliseconds, Is.InRange(250, 2000));
    }

    [Test]
    public void Output_Discarded_ProcessNeverWaits()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses("", "", "", true), Services);
        Assert.That(Start(streams, "seq 1 300000").Wait(), Is.Zero);
        streams.ProcessExited();
        Await(streams.DrainAsync(Patience, CancellationToken.None));
    }

    [Test]
    public void Output_File_Complete()
    {
        var path = Path.Combine(Directory, "out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", "file://" + path, "", true), Services);
        Assert.That(Start(streams, "seq 1 200000").Wait(), Is.Zero);
        Await(streams.DrainAsync(Patience, CancellationToken.None));
        AssertSequence(File.ReadAllText(path), 200_000);
    }

    [Test]
    public void Output_BackgroundChildHoldsTheTerminal_NoSpinAndDrainDoesNotWait()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        var reader = new FifoReader(fifo);
        // Not the leader of the session, whose exit would hang the terminal up for all.
        var child = Start(streams, "trap '' HUP; sh -c 'trap \"\" HUP; echo ok; sleep 60 & echo $!' & wait $!; sleep 60");
        Eventually(() => reader.Text.Split("\r\n").Length == 3, "the output");
        streams.ProcessExited();
        AssertLoopSleeps();
        Assert.That(reader.Ended, Is.False);
        var clock = Stopwatch.StartNew();
        Await(streams.DrainAsync(Patience, CancellationToken.None));
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(1000));
        Assert.That(reader.ReadToEnd(), Does.StartWith("ok\r\n"));
        // Closing the master hangs up whoever is left; what ignores that is not ours to leave behind.
        using var sleeper = Shim.Processes.PidFd.TryOpen(int.Parse(reader.Text.Split("\r\n")[1], CultureInfo.InvariantCulture));
        sleeper?.Signal(Libc.SIGKILL);
        child.Kill();
    }

    [Test]
    public void Output_ProcessClosesItsTerminalAndOpensItAgain_NoSpinAndNothingLost()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        var reader = new FifoReader(fifo);
        var terminal = new TestTerminal();
        streams.AttachTerminal(terminal.Master);
        var child = RunOn(streams, terminal, $"echo one; exec <&- >&- 2>&-; sleep 1.5; echo two >{terminal.SlavePath}; sleep 0.3; exec >{terminal.SlavePath}; echo three");
        streams.ReleaseChildEnds();
        Eventually(() => reader.Text == "one\r\n", "the first line");
        AssertLoopSleeps();
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Is.EqualTo("one\r\ntwo\r\nthree\r\n"));
    }

    [Test]
    public void Attach_AfterTheProcessHasExited_OutputIsReadAllTheSame()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        var terminal = new TestTerminal();
        var child = RunOn(streams, terminal, "echo quick");
        streams.ReleaseChildEnds();
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        streams.AttachTerminal(terminal.Master);
        Assert.That(new FifoReader(fifo).ReadToEnd(), Is.EqualTo("quick\r\n"));
        Await(streams.DrainAsync(Patience, CancellationToken.None));
    }

    [Test]
    public void Drain_TerminalThatNeverCame_ReturnsAtOnce()
    {
        using var streams = ProcessStreams.Open(new StreamAddresses(Fifo("in"), Fifo("out"), "", true), Services);
        streams.ReleaseChildEnds();
        var clock = Stopwatch.StartNew();
        Await(streams.DrainAsync(Patience, CancellationToken.None));
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(1000));
    }

    [Test]
    public void Input_WritersComeAndGo_ProcessReadsAllAndLives()
    {
        var input = Fifo("in");
        var output = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", true), Services);
        WriteAndClose(input, "early\n");
        var reader = new FifoReader(output);
        var child = Start(streams, "stty -echo; echo ready; while read line; do echo got $line; done; echo over");
        Eventually(() => reader.Text.Contains("got early", StringComparison.Ordinal), "the early line");
        WriteAndClose(input, "one\n");
        Eventually(() => reader.Text.Contains("got one", StringComparison.Ordinal), "the first line");
        WriteAndClose(input, "two\n");
        Eventually(() => reader.Text.Contains("got two", StringComparison.Ordinal), "the second line");
        Assert.That(child.HasExited, Is.False);

        streams.CloseStdin();
        streams.CloseStdin();
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Does.EndWith("over\r\n"));
    }

    [Test]
    public void Input_ClosedInTheMiddleOfALine_LineAndEndAreRead()
    {
        var input = Fifo("in");
        var output = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", true), Services);
        var reader = new FifoReader(output);
        var child = Start(streams, "stty -echo; echo ready; cat; echo; echo over");
        Eventually(() => reader.Text.Contains("ready", StringComparison.Ordinal), "the start");
        WriteAndClose(input, "half");
        streams.CloseStdin();
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Is.EqualTo("ready\r\nhalf\r\nover\r\n"));
    }

    [TestCase("")]
    [TestCase("/dev/null")]
    public void Input_Nothing_ProcessWaitsUntilClosed(string address)
    {
        using var streams = ProcessStreams.Open(new StreamAddresses(address, "", "", true), Services);
        var child = Start(streams, "cat");
        Thread.Sleep(150);
        Assert.That(child.HasExited, Is.False);
        streams.CloseStdin();
        Assert.That(child.Wait(), Is.Zero);
    }

    [Test]
    public void Input_LargeThroughARawTerminal_Unchanged()
    {
        const int Size = 4 * 1024 * 1024;
        var input = Fifo("in");
        var output = Fifo("out");
        var bytes = new byte[Size];
        new Random(2).NextBytes(bytes);
        using var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", true), Services);
        var reader = new FifoReader(output);
        var child = Start(streams, $"stty raw -echo; echo ready; sleep 0.5; head -c {Size} | sha256sum");
        Eventually(() => reader.Text.Contains("ready", StringComparison.Ordinal), "the start");
        using (var writer = Fd.Open(input, Libc.O_WRONLY))
        {
            Fd.WriteAll(writer, bytes);
        }

        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Does.Contain(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))));
    }

    [Test]
    public void Input_ProcessDoesNotRead_ClientWaitsAndNothingSpins()
    {
        var input = Fifo("in");
        using var streams = ProcessStreams.Open(new StreamAddresses(input, "", "", true), Services);
        var child = Start(streams, "stty raw -echo; sleep 60");
        using var client = Fd.Open(input, Libc.O_WRONLY | Libc.O_NONBLOCK);
        var block = new byte[4096];
        var written = 0L;
        Eventually(() =>
        {
            int count;
            while ((count = Fd.Write(client, block)) > 0)
            {
                written += count;
            }

            Thread.Sleep(100);
            return Fd.Write(client, block) == -1 && Errno.Last == Errno.EAGAIN;
        }, "back-pressure");
        Assert.That(written, Is.LessThan(1024 * 1024), "bytes must not pile up in memory");
        AssertLoopSleeps();
        child.Kill();
        Assert.That(child.Wait(), Is.EqualTo(137));
        streams.ProcessExited();
        Eventually(() => Fd.Write(client, block) == -1 && Errno.Last == Errno.EPIPE, "telling the client");
    }

    [Test]
    public void Resize_BeforeAndAfterAttach_ProcessSeesBoth()
    {
        var fifo = Fifo("out");
        using var streams = ProcessStreams.Open(new StreamAddresses("", fifo, "", true), Services);
        streams.Resize(100, 40);
        var reader = new FifoReader(fifo);
        var child = Start(streams, "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.05; done");
        Eventually(() => reader.Text == "40 100\r\n", "the first size");
        streams.Resize(132, 50);
        Assert.That(child.Wait(), Is.Zero);
        streams.ProcessExited();
        Assert.That(reader.ReadToEnd(), Is.EqualTo("40 100\r\n50 132\r\n"));
        Assert.That(() => streams.Resize(-1, 5), Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.InvalidArgument));
        Await(streams.DrainAsync(Patience, CancellationToken.None));
        Assert.That(() => streams.Resize(1, 5), Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.Precondition));
    }

    [Test]
    public void Descriptors_ManyTerminalsOneAfterTheOther_Constant()
    {
        var input = Fifo("in");
        var output = Fifo("out");
        void Once(int round)
        {
            var streams = ProcessStreams.Open(new StreamAddresses(input, output, "", true), Services);
            var terminal = new TestTerminal();
            using (var slave = Fd.Open(terminal.SlavePath, Libc.O_RDWR | Libc.O_NOCTTY))
            {
                streams.AttachTerminal(terminal.Master);
                Fd.WriteAll(slave, "x"u8);
            }

            streams.ReleaseChildEnds();
            if (round % 5 == 0)
            {
                streams.Dispose();
                return;
            }

            using var reader = Fd.Open(output, Libc.O_RDONLY | Libc.O_NONBLOCK);
            Await(streams.DrainAsync(Patience, CancellationToken.None));
        }

        // The one inotify instance is made when it is needed, which depends on who is faster.
        Loop.AddWatch(output, Libc.IN_OPEN, () => { }).Dispose();
        for (var round = 0; round < 50; round++)
        {
            Once(round);
        }

        var before = OpenDescriptors();
        for (var round = 0; round < 1000; round++)
        {
            Once(round);
        }

        AssertNoneLeftOpen(before);
    }

    private TestChild Start(ProcessStreams streams, string script)
    {
        var terminal = new TestTerminal();
        streams.AttachTerminal(terminal.Master);
        var child = RunOn(streams, terminal, script);
        streams.ReleaseChildEnds();
        return child;
    }

    private static void AssertSequence(string text, int last)
    {
        var expected = 1;
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            if (line.IsEmpty && expected > last)
            {
                break;
            }

            if (!int.TryParse(line, CultureInfo.InvariantCulture, out var number) || number != expected)
            {
                Assert.Fail($"expected line {expected}, found \"{line[..Math.Min(line.Length, 40)]}\"");
            }

            expected++;
        }

        Assert.That(expected - 1, Is.EqualTo(last));
    }
}
