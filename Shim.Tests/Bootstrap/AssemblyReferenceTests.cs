using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using NUnit.Framework;

namespace Shim.Tests.Bootstrap;

/// <summary>
/// System.Diagnostics.Process waits for children behind everybody's back: in a process that reaps, one of the two loses statuses or
/// ends the program.
/// </summary>
public sealed class AssemblyReferenceTests
{
    private const string Forbidden = "System.Diagnostics.Process";

    [TestCase("shim.dll")]
    [TestCase("supervisor.dll")]
    public void References_OfTheExecutables_NotTheProcessClass(string file) => Assert.That(References(file), Has.Count.GreaterThan(3).And.No.Member(Forbidden));

    [Test]
    public void References_OfTheTests_DoContainIt() => Assert.That(References("Shim.Tests.dll"), Does.Contain(Forbidden), "the control: the question can be answered with yes");

    private static List<string> References(string file)
    {
        using var stream = File.OpenRead(Path.Combine(AppContext.BaseDirectory, file));
        using var image = new PEReader(stream);
        var metadata = image.GetMetadataReader();
        return [.. metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name))];
    }
}
