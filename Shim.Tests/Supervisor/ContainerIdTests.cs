using Containerd;
using NUnit.Framework;

namespace Shim.Tests.Supervisor;

/// <summary>Ids become directory names, cgroup names and arguments of the runtime.</summary>
public sealed class ContainerIdTests
{
    [TestCase("a")]
    [TestCase("0")]
    [TestCase("web-1_b.c")]
    [TestCase("A...")]
    public void Check_AllowedId_Passes(string id) => Assert.That(() => ContainerId.Check(id), Throws.Nothing);

    [TestCase("")]
    [TestCase(".")]
    [TestCase("..")]
    [TestCase("../x")]
    [TestCase("a/b")]
    [TestCase("-a")]
    [TestCase("_a")]
    [TestCase("a b")]
    [TestCase("a\0b")]
    [TestCase("a\n")]
    [TestCase("ä")]
    [TestCase("a\u0301")]
    public void Check_OtherId_IsInvalid(string id) => Assert.That(
        () => ContainerId.Check(id),
        Throws.InstanceOf<TaskException>().With.Property(nameof(TaskException.Kind)).EqualTo(ErrorKind.InvalidArgument));

    [Test]
    public void IsValid_AtAndOverTheLimit_ChangesThere() => Assert.Multiple(() =>
    {
        Assert.That(ContainerId.IsValid(new string('a', 128)), Is.True);
        Assert.That(ContainerId.IsValid(new string('a', 129)), Is.False);
    });

    [Test]
    public void Check_HugeIdWithControlCharacters_MessageStaysShortAndPrintable()
    {
        var refusal = Assert.Throws<TaskException>(() => ContainerId.Check("\0\u001b" + new string('x', 4096)))!;
        Assert.That(refusal.Message, Has.Length.LessThan(300));
        Assert.That(refusal.Message.Any(char.IsControl), Is.False);
    }
}
