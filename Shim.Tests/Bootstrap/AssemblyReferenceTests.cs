using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using NUnit.Framework;

namespace Shim.Tests.Bootstrap;

/// <summary>What the executables must not use.</summary>
public sealed class AssemblyReferenceTests
{
    // It waits for children behind everybody's back: in a process that reaps, one of the two loses statuses or ends the program.
    private const string Forbidden = "System.Diagnostics.Process";

    [TestCase("shim.dll")]
    [TestCase("supervisor.dll")]
    public void References_OfTheExecutables_NotTheProcessClass(string file) => Assert.That(References(file), Has.Count.GreaterThan(3).And.No.Member(Forbidden));

    [Test]
    public void References_OfTheTests_DoContainIt() => Assert.That(References("Shim.Tests.dll"), Does.Contain(Forbidden), "the control: the question can be answered with yes");

    // Each of these starts a thread of the runtime's in every shim, for what the main loop does.
    [TestCase("shim.dll")]
    public void Members_OfTheShim_NoneThatNeedsAThreadForSocketsTimersOrSignals(string file) =>
        Assert.That(Members(file).Where(NeedsAThread), Is.Empty);

    [Test]
    public void Members_OfTheTests_DoNeedThem() => Assert.That(Members("Shim.Tests.dll").Where(NeedsAThread).Distinct().ToList(), Has.Count.GreaterThan(5), "the control");

    private static bool NeedsAThread(string member) =>
        member.StartsWith("System.Net.Sockets.", StringComparison.Ordinal)
        || member.StartsWith("System.Runtime.InteropServices.PosixSignalRegistration.", StringComparison.Ordinal)
        || member.StartsWith("System.Threading.PeriodicTimer.", StringComparison.Ordinal)
        || member.StartsWith("System.Threading.Timer.", StringComparison.Ordinal)
        || member is "System.TimeProvider.get_System" or "System.Threading.CancellationTokenSource.CancelAfter" or "System.Threading.Tasks.Task.Delay(2)"
            or "System.Threading.Tasks.Task.Delay(1)" or "System.Threading.Tasks.Task.WaitAsync(TimeSpan)";

    /// <summary>Methods that are called, by the full name of their type; where overloads differ in this, with what tells them apart.</summary>
    private static List<string> Members(string file)
    {
        using var stream = File.OpenRead(Path.Combine(AppContext.BaseDirectory, file));
        using var image = new PEReader(stream);
        var metadata = image.GetMetadataReader();
        return [.. metadata.MemberReferences.Select(metadata.GetMemberReference).Where(member => member.Parent.Kind == HandleKind.TypeReference).Select(member =>
        {
            var type = metadata.GetTypeReference((TypeReferenceHandle)member.Parent);
            var name = $"{metadata.GetString(type.Namespace)}.{metadata.GetString(type.Name)}.{metadata.GetString(member.Name)}";
            var blob = metadata.GetBlobReader(member.Signature);
            _ = blob.ReadSignatureHeader();
            var parameters = blob.ReadCompressedInteger();

            // With a clock of its own Task.Delay has three parameters, WaitAsync too; without one WaitAsync has one (a token: harmless) or two.
            return name switch
            {
                "System.Threading.Tasks.Task.Delay" => $"{name}({parameters})",
                "System.Threading.Tasks.Task.WaitAsync" when parameters == 2 => $"{name}(TimeSpan)",
                _ => name,
            };
        })];
    }

    private static List<string> References(string file)
    {
        using var stream = File.OpenRead(Path.Combine(AppContext.BaseDirectory, file));
        using var image = new PEReader(stream);
        var metadata = image.GetMetadataReader();
        return [.. metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name))];
    }
}
