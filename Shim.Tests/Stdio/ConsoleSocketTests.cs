using System.Net.Sockets;
using System.Runtime.InteropServices;
using Containerd;
using NUnit.Framework;
using Shim.Interop;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

[TestFixture]
internal sealed partial class ConsoleSocketTests : StreamTest
{
    [Test]
    public void Receive_Master_TerminalThatWorks()
    {
        using var socket = ConsoleSocket.Listen(Directory, Loop);
        Assert.That(File.GetUnixFileMode(socket.Path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        var receiving = socket.ReceiveMasterAsync(Patience, CancellationToken.None);
        var terminal = new TestTerminal();
        Send(socket.Path, [terminal.Master]);
        terminal.Master.Dispose();
        Await(receiving);
        using var master = receiving.Result;
        Assert.That(Libc.Fcntl(Fd.Number(master), Libc.F_GETFD, 0) & Libc.FD_CLOEXEC, Is.Not.Zero);
        using var slave = Fd.Open(terminal.SlavePath, Libc.O_RDWR | Libc.O_NOCTTY);
        Fd.WriteAll(slave, "x"u8);
        Assert.That(Fd.Read(master, new byte[10]), Is.EqualTo(1));
    }

    [Test]
    public void Listen_LongDirectory_PathFitsAndWorks()
    {
        var deep = System.IO.Directory.CreateDirectory(Path.Combine(Directory, new string('a', 100), new string('b', 100))).FullName;
        using var socket = ConsoleSocket.Listen(deep, Loop);
        Assert.That(socket.Path, Has.Length.LessThan(108));
        var receiving = socket.ReceiveMasterAsync(Patience, CancellationToken.None);
        var terminal = new TestTerminal();
        Send(socket.Path, [terminal.Master]);
        Await(receiving);
        receiving.Result.Dispose();
        terminal.Master.Dispose();
        Assert.That(System.IO.Directory.GetFiles(deep), Has.Length.EqualTo(1));
        socket.Dispose();
        Assert.That(System.IO.Directory.GetFiles(deep), Is.Empty);
    }

    [Test]
    public void Dispose_Always_SocketFileRemoved()
    {
        var socket = ConsoleSocket.Listen(Directory, Loop);
        Assert.That(File.Exists(socket.Path), Is.True);
        socket.Dispose();
        Assert.That(System.IO.Directory.GetFileSystemEntries(Directory), Is.Empty);
    }

    [Test]
    public void Listen_MissingDirectory_Throws() =>
        Assert.That(() => ConsoleSocket.Listen(Path.Combine(Directory, "missing"), Loop), Throws.InstanceOf<TaskException>());

    [TestCase(2, "more than one")]
    [TestCase(4, "more than one")]
    [TestCase(7, "more than one")]
    [TestCase(0, "without a descriptor")]
    [TestCase(-1, "nothing before it closed")]
    [TestCase(-2, "no terminal")]
    public void Receive_NotOneTerminal_RefusedAndAllClosed(int kind, string reason)
    {
        Loop.Start();
        using var notATerminal = Fd.Open("/dev/null", Libc.O_RDONLY);
        var terminal = new TestTerminal();
        using var master = terminal.Master;
        // Sockets of the framework settle after their first use.
        using (var first = ConsoleSocket.Listen(Directory, Loop))
        {
            var trial = first.ReceiveMasterAsync(Patience, CancellationToken.None);
            Send(first.Path, [master]);
            Await(trial);
            trial.Result.Dispose();
        }

        var before = OpenDescriptors();
        using (var socket = ConsoleSocket.Listen(Directory, Loop))
        {
            var receiving = socket.ReceiveMasterAsync(Patience, CancellationToken.None);
            if (kind == -1)
            {
                using var client = Connect(socket.Path);
            }
            else
            {
                Send(socket.Path, kind == -2 ? [notATerminal] : [.. Enumerable.Repeat<SafeHandle>(master, kind)]);
            }

            Assert.That(async () => await receiving.WaitAsync(Patience), Throws.InstanceOf<TaskException>()
                .With.Message.Contains(reason).And.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.RuntimeFailed));
        }

        AssertNoneLeftOpen(before);
    }

    [Test]
    public void Receive_NobodyConnects_DeadlineExceeded()
    {
        using var socket = ConsoleSocket.Listen(Directory, Loop);
        Assert.That(async () => await socket.ReceiveMasterAsync(TimeSpan.FromMilliseconds(100), CancellationToken.None),
            Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.DeadlineExceeded));
    }

    [Test]
    public void Receive_ConnectedButSilent_DeadlineExceeded()
    {
        using var socket = ConsoleSocket.Listen(Directory, Loop);
        using var client = Connect(socket.Path);
        Assert.That(async () => await socket.ReceiveMasterAsync(TimeSpan.FromMilliseconds(100), CancellationToken.None),
            Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.DeadlineExceeded));
    }

    [Test]
    public void Receive_Cancelled_Cancelled()
    {
        using var socket = ConsoleSocket.Listen(Directory, Loop);
        using var caller = new CancellationTokenSource(50);
        Assert.That(async () => await socket.ReceiveMasterAsync(Patience, caller.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void Descriptors_ManySockets_Constant()
    {
        var terminal = new TestTerminal();
        using var keep = terminal.Master;
        void Once()
        {
            using var socket = ConsoleSocket.Listen(Directory, Loop);
            var receiving = socket.ReceiveMasterAsync(Patience, CancellationToken.None);
            Send(socket.Path, [keep]);
            Await(receiving);
            receiving.Result.Dispose();
        }

        for (var i = 0; i < 20; i++)
        {
            Once();
        }

        var before = OpenDescriptors();
        for (var i = 0; i < 500; i++)
        {
            Once();
        }

        AssertNoneLeftOpen(before);
    }

    private static Socket Connect(string path)
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(path));
        return client;
    }

    /// <summary>Sends a name and descriptors in one message, as a runtime does.</summary>
    private static unsafe void Send(string path, IReadOnlyList<SafeHandle> descriptors)
    {
        using var client = Connect(path);
        var name = stackalloc byte[] { (byte)'p', (byte)'t', (byte)'m', (byte)'x' };
        var vector = new Libc.IoVector { Base = name, Length = 4 };
        var message = new Libc.MessageHeader { Vectors = &vector, VectorCount = 1 };
        var control = stackalloc long[16];
        if (descriptors.Count > 0)
        {
            var header = (Libc.ControlHeader*)control;
            var length = sizeof(Libc.ControlHeader) + (descriptors.Count * sizeof(int));
            *header = new Libc.ControlHeader { Length = (nuint)length, Level = Libc.SOL_SOCKET, Type = Libc.SCM_RIGHTS };
            for (var i = 0; i < descriptors.Count; i++)
            {
                ((int*)(header + 1))[i] = Fd.Number(descriptors[i]);
            }

            message.Control = control;
            message.ControlLength = (nuint)length;
        }

        Assert.That(SendMsg((int)client.Handle, &message, 0), Is.EqualTo((nint)4));
    }

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static unsafe partial nint SendMsg(int socket, Libc.MessageHeader* message, int flags);
}
