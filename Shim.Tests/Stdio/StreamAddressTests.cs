using Containerd;
using NUnit.Framework;
using Shim.Stdio;

namespace Shim.Tests.Stdio;

/// <summary>What addresses mean, before anything is opened.</summary>
internal sealed class StreamAddressTests
{
    [Test]
    public void Binary_OptionsBecomeArguments_InTheirOrderAndDecoded()
    {
        var address = StreamAddress.Parse("stdout", "binary:///bin/cat?--tag=a%26b&flag&path=%2Ftmp%2Fx+y");
        Assert.That((address.Kind, address.Path), Is.EqualTo((StreamKind.Logger, "/bin/cat")));
        Assert.That(address.Arguments, Is.EqualTo(new[] { "--tag", "a&b", "flag", "path", "/tmp/x y" }));
    }

    [Test]
    public void Log_PathIsDecoded_AQuestionMarkBeginsTheOptions()
    {
        var address = StreamAddress.Parse("stderr", "log:///tmp/with%3Fmark%20and%20space.log?max-size=2k");
        Assert.That((address.Kind, address.Path, address.Log!.MaxSize), Is.EqualTo((StreamKind.Log, "/tmp/with?mark and space.log", 2048L)));
    }

    [TestCase("stdin", "log:///tmp/x")]
    [TestCase("stdin", "binary:///bin/cat")]
    [TestCase("stdout", "LOG:///tmp/x")]
    [TestCase("stdout", "log://relative")]
    [TestCase("stdout", "log:///tmp/x?format=xml")]
    [TestCase("stdout", "log:///tmp/x%00y")]
    [TestCase("stdout", "binary:///tmp")]
    [TestCase("stdout", "http://x/y")]
    [TestCase("stdout", "://x")]
    public void WhatCannotBe_IsInvalid(string stream, string given)
    {
        var refusal = Assert.Throws<TaskException>(() => StreamAddress.Parse(stream, given))!;
        Assert.That(refusal.Kind, Is.EqualTo(ErrorKind.InvalidArgument));
        Assert.That(refusal.Message, Does.Contain(stream).And.Contain(given));
    }
}
