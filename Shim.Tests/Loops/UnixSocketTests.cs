using System.Security.Cryptography;
using NUnit.Framework;
using Shim.Interop;
using Shim.Loops;
using Shim.Tests.Support;

namespace Shim.Tests.Loops;

public sealed class UnixSocketTests
{
    private string _directory = null!;
    private string _path = null!;
    private UnixSocket _listener = null!;

    [SetUp]
    public void Listen()
    {
        _directory = TestRun.NewDirectory("socket");
        _path = Path.Combine(_directory, "s");
        _listener = new UnixSocket(UnixSockets.Listen(_path, 8));
    }

    [TearDown]
    public void Close()
    {
        _listener.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Test]
    public void Listen_AnyUmask_OnlyTheOwnerMayConnect() =>
        Assert.That(File.GetUnixFileMode(_path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));

    [Test]
    public async Task Send_MoreThanTheKernelTakes_ArrivesWholeWhenItIsRead()
    {
        var (client, server) = await PairAsync();
        using (client)
        using (server)
        {
            var bytes = RandomNumberGenerator.GetBytes(8 << 20);
            var sending = SendAllAsync(client, bytes);
            await Task.Delay(50);
            Assert.That(sending.IsCompleted, Is.False, "nobody has read");
            var received = new MemoryStream();
            var buffer = new byte[100_000];
            while (received.Length < bytes.Length)
            {
                received.Write(buffer, 0, await server.ReceiveAsync(buffer, CancellationToken.None).AsTask().WithinAsync(Poll.Deadline, "bytes"));
            }

            await sending.WithinAsync(Poll.Deadline, "all is sent");
            Assert.That(received.ToArray().AsSpan().SequenceEqual(bytes), Is.True);
        }
    }

    [Test]
    public async Task Receive_PeerCloses_EndsWithNothing()
    {
        var (client, server) = await PairAsync();
        using (server)
        {
            var waiting = server.ReadableAsync(CancellationToken.None).AsTask();
            Assert.That(waiting.IsCompleted, Is.False);
            client.Dispose();
            await waiting.WithinAsync(Poll.Deadline, "the end shows");
            Assert.That(await server.ReceiveAsync(new byte[1], CancellationToken.None), Is.Zero);
            var error = Assert.ThrowsAsync<NativeException>(async () => await SendAllAsync(server, new byte[1]));
            Assert.That(error!.Number, Is.EqualTo(Errno.EPIPE), "an error, and not a signal");
        }
    }

    [Test]
    public async Task Wait_CancelledOrClosed_SaysWhich()
    {
        var (client, server) = await PairAsync();
        using (client)
        using (var giveUp = new CancellationTokenSource())
        {
            var first = server.ReceiveAsync(new byte[1], giveUp.Token).AsTask();
            await giveUp.CancelAsync();
            Assert.That(async () => await first, Throws.InstanceOf<OperationCanceledException>());
            var second = server.ReceiveAsync(new byte[1], CancellationToken.None).AsTask();
            server.Dispose();
            Assert.That(async () => await second.WithinAsync(Poll.Deadline, "the wait ends"), Throws.InstanceOf<ObjectDisposedException>());
            Assert.That(async () => await server.ReceiveAsync(new byte[1], CancellationToken.None), Throws.InstanceOf<ObjectDisposedException>());
        }
    }

    [Test]
    public async Task Receive_GivenUpAndTriedAgain_NoByteIsLost()
    {
        var (client, server) = await PairAsync();
        using (client)
        using (server)
        {
            var buffer = new byte[1];
            for (byte i = 0; i < 200; i++)
            {
                using var giveUp = new CancellationTokenSource();
                var waiting = server.ReadableAsync(giveUp.Token).AsTask();
                var cancelling = Task.Run(giveUp.Cancel);
                await SendAllAsync(client, new[] { i });
                await cancelling;
                await Task.WhenAny(waiting);
                Assert.That(await server.ReceiveAsync(buffer, CancellationToken.None).AsTask().WithinAsync(Poll.Deadline, $"byte {i}"), Is.EqualTo(1));
                Assert.That(buffer[0], Is.EqualTo(i));
            }
        }
    }

    [Test]
    public void Connect_NobodyListensOrThePathIsTooLong_NativeErrorWithThePath()
    {
        _listener.Dispose();
        var refused = Assert.Throws<NativeException>(() => UnixSocket.Connect(_path));
        Assert.That(refused!.Message, Does.Contain(_path).And.Contain("refused"));
        Assert.That(UnixSockets.IsServed(_path), Is.False);
        var tooLong = Assert.Throws<NativeException>(() => UnixSocket.Connect("/" + new string('x', 107)));
        Assert.That(tooLong!.Number, Is.EqualTo(Errno.ENAMETOOLONG));
    }

    [Test]
    public void IsServed_QueueIsFull_StillTrue()
    {
        var path = Path.Combine(_directory, "full");
        using var listener = UnixSockets.Listen(path, 0);
        using var first = UnixSockets.Connect(path);
        Assert.That(() => UnixSockets.Connect(path).Dispose(), Throws.InstanceOf<NativeException>().With.Property("Number").EqualTo(Errno.EAGAIN), "the control");
        Assert.That(UnixSockets.IsServed(path), Is.True);
    }

    [Test]
    public void IsServed_SocketOfAnotherKind_ItHasItsOwner()
    {
        var path = Path.Combine(_directory, "datagrams");
        using var other = new System.Net.Sockets.Socket(
            System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Dgram, System.Net.Sockets.ProtocolType.Unspecified);
        other.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(path));
        Assert.That((UnixSockets.IsServed(path), UnixSockets.IsServed(path + "-not-there")), Is.EqualTo((true, false)));
    }

    [Test]
    public async Task Peer_IsWhoHasConnected()
    {
        var (client, server) = await PairAsync();
        using (client)
        using (server)
        {
            var peer = UnixSockets.PeerOf(server.Handle);
            Assert.That((peer.Pid, peer.User), Is.EqualTo((Environment.ProcessId, Libc.GetEffectiveUserId())));
        }
    }

    private static async Task SendAllAsync(UnixSocket socket, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await socket.SendAsync(bytes, CancellationToken.None)..];
        }
    }

    private async Task<(UnixSocket Client, UnixSocket Server)> PairAsync()
    {
        var client = UnixSocket.Connect(_path);
        return (client, await _listener.AcceptAsync(CancellationToken.None).WithinAsync(Poll.Deadline, "the connection"));
    }
}
