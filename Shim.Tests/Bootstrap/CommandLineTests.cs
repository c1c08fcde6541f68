using NUnit.Framework;
using Shim.Bootstrap;

namespace Shim.Tests.Bootstrap;

public sealed class CommandLineTests
{
    [Test]
    public void Parse_NoOptions_Defaults() => Assert.That(Parse("serve"), Is.EqualTo(new ServeOptions()));

    [Test]
    public void Parse_EveryOption_Taken() => Assert.Multiple(() =>
    {
        Assert.That(Parse("serve", "--socket", "/s"), Is.EqualTo(new ServeOptions { Socket = "/s" }));
        Assert.That(Parse("serve", "--socket=/s=1"), Is.EqualTo(new ServeOptions { Socket = "/s=1" }));
        Assert.That(Parse("serve", "--listen-fd", "3"), Is.EqualTo(new ServeOptions { ListenFd = 3 }));
        Assert.That(Parse("serve", "--listen-fd=250"), Is.EqualTo(new ServeOptions { ListenFd = 250 }));
        Assert.That(Parse("serve", "--state", "/d"), Is.EqualTo(new ServeOptions { StateDirectory = "/d" }));
        Assert.That(Parse("serve", "--runtime", "crun"), Is.EqualTo(new ServeOptions { Runtime = "crun" }));
        Assert.That(Parse("serve", "--runtime-root", "/r"), Is.EqualTo(new ServeOptions { RuntimeRoot = "/r" }));
        Assert.That(Parse("serve", "--debug"), Is.EqualTo(new ServeOptions { Debug = true }));
        Assert.That(
            Parse("serve", "--debug", "--runtime-root=/r", "--socket", "/s", "--runtime", "x", "--state=/d"),
            Is.EqualTo(new ServeOptions { Socket = "/s", StateDirectory = "/d", Runtime = "x", RuntimeRoot = "/r", Debug = true }));
    });

    [TestCase("--socket")]
    [TestCase("--listen-fd")]
    [TestCase("--state")]
    [TestCase("--runtime")]
    [TestCase("--runtime-root")]
    public void Parse_ValueMissing_NamesTheOption(string option) => Refused($"{option} needs a value", "serve", option);

    [TestCase("2")]
    [TestCase("0")]
    [TestCase("-1")]
    [TestCase("")]
    [TestCase("x")]
    [TestCase("3x")]
    [TestCase(" 3")]
    [TestCase("99999999999")]
    public void Parse_DescriptorThatIsNone_Refused(string value) => Refused("--listen-fd needs the number of a descriptor above 2", "serve", "--listen-fd", value);

    [TestCase("--nope")]
    [TestCase("stray")]
    [TestCase("-x")]
    [TestCase("--Socket")]
    [TestCase("--debug=yes")]
    [TestCase("")]
    public void Parse_UnknownOption_NamesIt(string option) => Refused($"serve knows no option {option}", "serve", option);

    [Test]
    public void Parse_SocketAndDescriptor_Refused() => Refused("exclude each other", "serve", "--socket", "/s", "--listen-fd", "3");

    private static ServeOptions Parse(params string[] args) => CommandLine.Parse(args);

    private static void Refused(string message, params string[] args) => Assert.That(() => Parse(args), Throws.TypeOf<FormatException>().With.Message.Contains(message));
}
