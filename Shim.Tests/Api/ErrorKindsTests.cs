using System.Net.Sockets;
using Containerd;
using Grpc.Core;
using NUnit.Framework;
using Shim.Interop;

namespace Shim.Tests.Api;

/// <summary>A fault of the machine is nobody's bug: its name on the wire says what has run out.</summary>
public sealed class ErrorKindsTests
{
    [TestCase(28, StatusCode.ResourceExhausted)]
    [TestCase(122, StatusCode.ResourceExhausted)]
    [TestCase(24, StatusCode.ResourceExhausted)]
    [TestCase(23, StatusCode.ResourceExhausted)]
    [TestCase(12, StatusCode.ResourceExhausted)]
    [TestCase(11, StatusCode.ResourceExhausted)]
    [TestCase(30, StatusCode.Unavailable)]
    [TestCase(5, StatusCode.Unavailable)]
    [TestCase(22, StatusCode.Internal)]
    public void Errno_OfWhateverException_HasItsCode(int errno, StatusCode code)
    {
        foreach (var exception in new Exception[]
        {
            new NativeException("open", errno, "/x"),
            new IOException("write /x", errno),
            new InvalidOperationException("outer", new IOException("inner", errno)),
            new SocketException(errno, "accept"),
        })
        {
            if (exception is SocketException && errno == 11)
            {
                continue;
            }

            Assert.That(ErrorKinds.ToStatus(exception).StatusCode, Is.EqualTo(code), exception.ToString());
            Assert.That(ErrorKinds.IsExpected(exception), Is.EqualTo(code != StatusCode.Internal));
        }
    }

    [Test]
    public void RealErrors_OfThisRuntime_AreRecognised()
    {
        var full = Assert.Catch(() =>
        {
            using var file = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.None, 0);
            file.Write(new byte[10]);
        });
        Assert.That(ErrorKinds.OfMachine(full), Is.EqualTo(ErrorKind.Exhausted));
        Assert.That(ErrorKinds.OfMachine(Assert.Catch(() => File.ReadAllText("/nonexistent"))), Is.Null);
        Assert.That(ErrorKinds.OfMachine(Assert.Catch(() => File.ReadAllText("/proc/self/mem"))), Is.EqualTo(ErrorKind.Unavailable));
        Assert.That(ErrorKinds.OfMachine(new InsufficientMemoryException()), Is.EqualTo(ErrorKind.Exhausted));
        Assert.That(ErrorKinds.OfMachine(new TimeoutException()), Is.Null);
    }
}
