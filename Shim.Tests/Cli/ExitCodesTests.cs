extern alias SupervisorAssembly;

using Grpc.Core;
using NUnit.Framework;
using SupervisorAssembly::Supervisor.Cli;

namespace Shim.Tests.Cli;

public sealed class ExitCodesTests
{
    // Messages as runc 1.1.5 and crun 1.8.1 print them.
    [TestCase("runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH", 127)]
    [TestCase("runc create failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory", 127)]
    [TestCase("exec failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory", 127)]
    [TestCase("runc create failed: unable to start container process: exec: \"/etc/passwd\": permission denied", 126)]
    [TestCase("runc create failed: unable to start container process: exec: \"/etc\": is a directory", 126)]
    [TestCase("runc create failed: unable to start container process: exec: \"/etc/passwd/x\": stat /etc/passwd/x: not a directory", 126)]
    [TestCase("exec failed: unable to start container process: exec /x: exec format error", 126)]
    [TestCase("executable file `nope` not found in $PATH: No such file or directory", 127)]
    [TestCase("open executable: Permission denied", 126)]
    [TestCase("exec failed: unable to start container process: chdir to cwd (\"/nope\") set in config.json failed: no such file or directory", 125)]
    [TestCase("read /b/config.json: no such file or directory", 125)]
    [TestCase("runc create failed: unable to start container process: error mounting \"/x\": permission denied", 125)]
    [TestCase("container x not found", 125)]
    [TestCase("", 125)]
    public void OfRuntimeMessage_Text_Code(string message, int expected) => Assert.That(ExitCodes.OfRuntimeMessage(message), Is.EqualTo(expected));

    [TestCase(StatusCode.InvalidArgument, 127)]
    [TestCase(StatusCode.NotFound, 127)]
    [TestCase(StatusCode.Unknown, 127)]
    [TestCase(StatusCode.AlreadyExists, 125)]
    [TestCase(StatusCode.Unavailable, 125)]
    [TestCase(StatusCode.DeadlineExceeded, 125)]
    public void OfStart_StatusCode_DecidesWhetherTheMessageIsTheRuntimes(StatusCode code, int expected) =>
        Assert.That(ExitCodes.OfStart(new RpcException(new Status(code, "exec: \"nope\": executable file not found in $PATH"))), Is.EqualTo(expected));

    [Test]
    public void Signalled_Signal_IsAsTheShellHasIt() => Assert.That(ExitCodes.Signalled(15), Is.EqualTo(143));
}
