using Containerd.Shim.V1;
using Grpc.Core;
using NUnit.Framework;
using Shim.Tests.Support;
using WaitRequest = Containerd.Shim.V1.WaitRequest;

namespace Shim.Tests.EndToEnd;

/// <summary>Clients that come to running processes, and what their leaving means.</summary>
public sealed class AttachTests
{
    private const string Echo = "while read line; do echo \"got $line\"; done";

    [Test]
    public async Task Terminal_SeveralClients_AllSeeAndAllType()
    {
        await using var shim = await StartAsync(bundle => bundle.Terminal().Script(Echo));
        using var first = new FifoReader(shim.PathOf("out1"));
        using var second = new FifoReader(shim.PathOf("out2"));
        var input = shim.MakeFifo("in1");
        await shim.Client.AttachAsync(new AttachRequest { Stdin = input, Stdout = first.Path });
        await shim.Client.AttachAsync(new AttachRequest { Stdin = shim.MakeFifo("in2"), Stdout = second.Path });
        using (var typing = await FifoWriter.OpenAsync(input, Poll.Deadline))
        {
            await typing.WriteAsync("one\n", Poll.Deadline);
            await first.WaitForTextAsync("got one\r\n", Poll.Deadline);
            await second.WaitForTextAsync("got one\r\n", Poll.Deadline);
        }

        // One who stops to type, and one who leaves altogether, end nothing for the other.
        first.Dispose();
        using var other = await FifoWriter.OpenAsync(shim.PathOf("in2"), Poll.Deadline);
        await other.WriteAsync("two\n", Poll.Deadline);
        await second.WaitForTextAsync("got two\r\n", Poll.Deadline);
        await shim.Client.KillAsync(new KillRequest { Signal = 9 });
        await second.Ended.WithinAsync(Poll.Deadline, "the end of the output after the process");
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task ClientThatDoesNotRead_DelaysNobody(bool terminal)
    {
        var log = TestRun.NewName("log");
        await using var shim = await StartAsync(
            bundle => bundle.Terminal(terminal).Script("seq 1 300000; echo the end"), log, start: false);
        using var stuck = new UnreadFifo(shim.PathOf("stuck"));
        using var reading = new FifoReader(shim.PathOf("reading"));
        await shim.Client.AttachAsync(new AttachRequest { Stdout = stuck.Path });
        await shim.Client.AttachAsync(new AttachRequest { Stdout = reading.Path });
        await shim.Client.StartAsync(new StartRequest());
        var ended = await shim.Client.WaitAsync(new WaitRequest());
        Assert.That(ended.Exit.Status, Is.Zero);
        await reading.Ended.WithinAsync(Poll.Deadline, "the end of the other client's output");
        Assert.That(reading.Text, Does.EndWith("the end" + (terminal ? "\r\n" : "\n")));
    }

    [Test]
    public async Task OutputThatGoesStraightToItsFifo_IsRefused()
    {
        await using var shim = await ShimFixture.StartAsync();
        using var stdout = new FifoReader(shim.PathOf("direct"));
        await shim.Client.CreateAsync(new CreateRequest { Id = "direct", Bundle = shim.NewBundle().Write().Path, Stdout = stdout.Path });
        await shim.Client.StartAsync(new StartRequest());
        using var client = new FifoReader(shim.PathOf("client"));
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Stdout = client.Path }), StatusCode.FailedPrecondition, ["does not pass"]);
    }

    [Test]
    public async Task AddressesThatCannotBe_AreRefused_AndTheTerminalLivesOn()
    {
        await using var shim = await StartAsync(bundle => bundle.Terminal().Script(Echo));
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Stdout = shim.PathOf("missing") }), StatusCode.InvalidArgument, ["no such file"]);
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Stdout = shim.MakeFifo("unread") }), StatusCode.InvalidArgument, ["opened it for reading"]);
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Stdout = "log:///tmp/x" }), StatusCode.InvalidArgument, ["only FIFOs"]);
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Stderr = shim.MakeFifo("errors") }), StatusCode.InvalidArgument, ["stderr"]);
        await Refusal.ExpectAsync(shim.Client.AttachAsync(new AttachRequest { Pid = 1 }), StatusCode.NotFound);
        await Refusal.ExpectAsync(shim.Client.DetachAsync(new DetachRequest { Stdout = "/nobody" }), StatusCode.NotFound, ["/nobody"]);
        using var client = new FifoReader(shim.PathOf("client"));
        await shim.Client.AttachAsync(new AttachRequest { Stdin = shim.MakeFifo("in"), Stdout = client.Path });
        using var typing = await FifoWriter.OpenAsync(shim.PathOf("in"), Poll.Deadline);
        await typing.WriteAsync("alive\n", Poll.Deadline);
        await client.WaitForTextAsync("got alive\r\n", Poll.Deadline);
    }

    [Test]
    public async Task Terminal_ClientVanishes_Hangup_TheProcessGetsSighup()
    {
        await using var shim = await StartAsync(bundle => bundle);
        var before = 0;
        for (var i = 0; i < 5; i++)
        {
            using var client = new FifoReader(shim.PathOf($"out{i}"));
            var exec = await shim.Client.ExecAsync(new ExecRequest
            {
                Terminal = true, Args = { "sh", "-c", "echo ready; cat" }, Stdin = shim.MakeFifo($"in{i}"), Stdout = $"fifo://{client.Path}?on-disconnect=hangup",
            });
            await client.WaitForTextAsync("ready", Poll.Deadline);

            // As when the client is killed: all of its descriptors are closed at once.
            client.Dispose();
            var ended = await shim.Client.WaitAsync(new WaitRequest { Pid = exec.Pid }, deadline: DateTime.UtcNow.AddSeconds(5));
            Assert.That((ended.Exit.Status, ended.Exit.Signal), Is.EqualTo((129u, 1u)));
            await shim.Client.DeleteAsync(new DeleteRequest { Pid = exec.Pid });

            // The first one has brought the event loop with it.
            before = i == 0 ? Descriptors(shim) : before;
        }

        await Poll.For(() => Descriptors(shim), count => count <= before, Poll.Deadline, $"descriptors, {before} after the first one");
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task ClientVanishes_Discard_TheProcessGoesOn(bool terminal)
    {
        await using var shim = await StartAsync(bundle => bundle);
        using var client = new FifoReader(shim.PathOf("out"));
        var exec = await shim.Client.ExecAsync(new ExecRequest
        {
            Terminal = terminal, Args = { "sh", "-c", "echo ready; sleep 0.3; seq 1 500000; exit 7" }, Stdout = $"fifo://{client.Path}?on-disconnect=discard",
        });
        await client.WaitForTextAsync("ready", Poll.Deadline);
        client.Dispose();
        Assert.That((await shim.Client.WaitAsync(new WaitRequest { Pid = exec.Pid })).Exit.Status, Is.EqualTo(7u));
    }

    [Test]
    public async Task NoTerminal_ClientVanishes_Hangup_TheWriterGetsSigpipe()
    {
        await using var shim = await StartAsync(bundle => bundle);
        using var client = new FifoReader(shim.PathOf("out"), keep: 1000);
        var exec = await shim.Client.ExecAsync(new ExecRequest { Args = { "yes" }, Stdout = $"fifo://{client.Path}?on-disconnect=hangup" });
        await client.WaitForTextAsync("y\n", Poll.Deadline);
        client.Dispose();
        var ended = await shim.Client.WaitAsync(new WaitRequest { Pid = exec.Pid }, deadline: DateTime.UtcNow.AddSeconds(5));
        Assert.That(ended.Exit.Signal, Is.EqualTo(13u));
    }

    [Test]
    public async Task Detach_OnPurpose_NothingIsHungUp_AndOneCanComeBack()
    {
        await using var shim = await StartAsync(bundle => bundle);
        using var client = new FifoReader(shim.PathOf("out"));
        var address = $"fifo://{client.Path}?on-disconnect=hangup";
        var exec = await shim.Client.ExecAsync(new ExecRequest { Terminal = true, Args = { "sh", "-c", $"echo ready; {Echo}" }, Stdin = shim.MakeFifo("in"), Stdout = address });
        await client.WaitForTextAsync("ready", Poll.Deadline);
        await shim.Client.DetachAsync(new DetachRequest { Pid = exec.Pid, Stdout = address });
        await client.Ended.WithinAsync(Poll.Deadline, "the end of the stream after detaching");
        await Refusal.ExpectAsync(shim.Client.DetachAsync(new DetachRequest { Pid = exec.Pid, Stdout = address }), StatusCode.NotFound);

        using var back = new FifoReader(shim.PathOf("out2"));
        await shim.Client.AttachAsync(new AttachRequest { Pid = exec.Pid, Stdin = shim.MakeFifo("in2"), Stdout = back.Path });
        using (var typing = await FifoWriter.OpenAsync(shim.PathOf("in2"), Poll.Deadline))
        {
            await typing.WriteAsync("again\n", Poll.Deadline);
            await back.WaitForTextAsync("got again\r\n", Poll.Deadline);
        }

        await shim.Client.DetachAsync(new DetachRequest { Pid = exec.Pid, Stdout = back.Path });
        await back.Ended.WithinAsync(Poll.Deadline, "the end of the second client's stream");
        Assert.That((await shim.Client.PidsAsync(new PidsRequest { Pid = exec.Pid })).Processes, Has.Count.EqualTo(1), "the process lives");
    }

    [Test]
    public async Task ConsoleSize_IsThereBeforeTheFirstByte()
    {
        await using var shim = await StartAsync(bundle => bundle);
        for (var i = 0; i < 10; i++)
        {
            using var client = new FifoReader(shim.PathOf($"out{i}"));
            await shim.Client.ExecAsync(new ExecRequest { Terminal = true, Args = { "stty", "size" }, Stdout = $"fifo://{client.Path}?console-size={100 + i}x{30 + i}" });
            Assert.That(await client.ReadTextAsync(Poll.Deadline), Is.EqualTo($"{30 + i} {100 + i}\r\n"));
        }
    }

    [TestCase("fifo:///tmp/x?on-disconnect=maybe")]
    [TestCase("fifo:///tmp/x?console-size=80")]
    [TestCase("fifo:///tmp/x?console-size=80x99999")]
    [TestCase("fifo:///tmp/x?what=ever")]
    [TestCase("file:///tmp/x?on-disconnect=wait")]
    [TestCase("log:///tmp/x?what=ever")]
    [TestCase("http://localhost/x")]
    public async Task OptionsThatDoNotExist_AreInvalid(string address)
    {
        await using var shim = await StartAsync(bundle => bundle);
        var fifo = shim.MakeFifo("x");
        await Refusal.ExpectAsync(
            shim.Client.ExecAsync(new ExecRequest { Args = { "true" }, Stdout = address.Replace("/tmp/x", fifo, StringComparison.Ordinal) }),
            StatusCode.InvalidArgument);
    }

    private static int Descriptors(ShimFixture shim) => Directory.GetFileSystemEntries($"/proc/{shim.ProcessId}/fd").Length;

    private static async Task<ShimFixture> StartAsync(Func<BundleBuilder, BundleBuilder> configure, string? log = null, bool start = true)
    {
        var shim = await ShimFixture.StartAsync();
        await shim.Client.CreateAsync(new CreateRequest
        {
            Id = "attach",
            Bundle = configure(shim.NewBundle()).Write().Path,
            Stdout = log is null ? "" : $"log://{shim.PathOf(log)}",
        });
        if (start)
        {
            await shim.Client.StartAsync(new StartRequest());
        }

        return shim;
    }
}
