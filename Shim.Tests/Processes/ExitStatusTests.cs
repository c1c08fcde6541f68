using NUnit.Framework;
using Shim.Processes;

namespace Shim.Tests.Processes;

public sealed class ExitStatusTests
{
    [Test]
    public void FromWaitStatus_EveryExitCode_IsThatCode()
    {
        for (var code = 0; code < 256; code++)
        {
            Assert.That(ExitStatus.FromWaitStatus(code << 8), Is.EqualTo(new ExitStatus(code, 0, false)));
        }
    }

    [Test]
    public void FromWaitStatus_EverySignal_Is128AndTheSignal()
    {
        for (var signal = 1; signal <= 64; signal++)
        {
            Assert.That(ExitStatus.FromWaitStatus(signal), Is.EqualTo(new ExitStatus(128 + signal, signal, false)));
            Assert.That(ExitStatus.FromWaitStatus(signal | 0x80), Is.EqualTo(new ExitStatus(128 + signal, signal, true)), "with a core");
        }
    }

    [Test]
    public void FromWaitStatus_BitsAboveTheStatus_Ignored() =>
        Assert.That(ExitStatus.FromWaitStatus(0x7fff0000 | (42 << 8)), Is.EqualTo(new ExitStatus(42, 0, false)));

    [Test]
    public void UnknownCode_Always_LooksLikeAFailure() => Assert.That(ExitStatus.UnknownCode, Is.EqualTo(255));
}
