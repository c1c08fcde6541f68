using NUnit.Framework;
using Shim.Stdio.Logs;

namespace Shim.Tests.Stdio.Logs;

public sealed class LogOptionsTests
{
    [Test]
    public void Parse_Nothing_CriWithoutRotationThatBlocks()
    {
        var options = Parse();
        Assert.That((options.Format, options.MaxSize, options.MaxFiles, options.DropWhenFull), Is.EqualTo((LogFormat.Cri, 0L, 5, false)));
    }

    [Test]
    public void Parse_Everything_Taken()
    {
        var options = Parse(("format", "docker-json"), ("max-files", "100"), ("max-size", "20m"), ("on-full", "drop"));
        Assert.That((options.Format, options.MaxSize, options.MaxFiles, options.DropWhenFull), Is.EqualTo((LogFormat.DockerJson, 20L << 20, 100, true)));
        Assert.That(Parse(("format", "cri"), ("on-full", "block"), ("max-files", "5"), ("max-size", "0")), Is.EqualTo(Parse()));
    }

    [TestCase("0", 0)]
    [TestCase("1", 1)]
    [TestCase("007", 7)]
    [TestCase("1k", 1024)]
    [TestCase("3m", 3L << 20)]
    [TestCase("2g", 2L << 30)]
    public void Parse_Size_InPowersOf1024(string value, long size) => Assert.That(Parse(("max-size", value)).MaxSize, Is.EqualTo(size));

    [TestCase("format", "", "cri or docker-json")]
    [TestCase("format", "CRI", "cri or docker-json")]
    [TestCase("on-full", "wait", "block or drop")]
    [TestCase("max-files", "0", "1 to 100")]
    [TestCase("max-files", "101", "1 to 100")]
    [TestCase("max-files", "-1", "1 to 100")]
    [TestCase("max-files", " 5", "1 to 100")]
    [TestCase("max-files", "", "1 to 100")]
    [TestCase("max-size", "", "max-size")]
    [TestCase("max-size", "k", "max-size")]
    [TestCase("max-size", "-1", "max-size")]
    [TestCase("max-size", "1.5m", "max-size")]
    [TestCase("max-size", "1t", "max-size")]
    [TestCase("max-size", "1 k", "max-size")]
    [TestCase("max-size", "9223372036854775808", "max-size")]
    [TestCase("max-size", "9223372036854775807g", "max-size")]
    [TestCase("max-size", "99999999999999999999", "max-size")]
    [TestCase("max_size", "1", "max_size")]
    [TestCase("", "1", "option")]
    public void Parse_WrongValue_ReasonNamesIt(string name, string value, string reason) =>
        Assert.That(() => Parse((name, value)), Throws.TypeOf<FormatException>().With.Message.Contains(reason));

    [Test]
    public void Parse_GivenTwice_Refused() =>
        Assert.That(() => Parse(("max-files", "2"), ("format", "cri"), ("max-files", "2")), Throws.TypeOf<FormatException>().With.Message.Contains("max-files").And.Message.Contains("twice"));

    private static LogOptions Parse(params (string Name, string Value)[] options) =>
        LogOptions.Parse([.. options.Select(option => KeyValuePair.Create(option.Name, option.Value))]);
}
