using Google.Protobuf.Reflection;
using NUnit.Framework;
using Shim.Transport.ShimV2;

namespace Shim.Tests.Transport;

/// <summary>Our own files say the same on the wire as containerd's: one number changed, and a daemon misreads a shim.</summary>
[TestFixture]
internal sealed partial class ContainerdProtocolTests
{
    private static readonly FileDescriptor[] s_files =
    [
        Containerd.Bootstrap.V1.BootstrapReflection.Descriptor,
        Containerd.Cgroups.V1.MetricsReflection.Descriptor,
        Containerd.Cgroups.V2.MetricsReflection.Descriptor,
        Containerd.Events.TaskReflection.Descriptor,
        Containerd.Runc.V1.OptionsReflection.Descriptor,
        Containerd.RuntimeOptions.V1.OptionsReflection.Descriptor,
        Containerd.Services.Events.Ttrpc.V1.EventsReflection.Descriptor,
        Containerd.Services.Events.V1.EventsReflection.Descriptor,
        Containerd.TaskApi.TaskReflection.Descriptor,
        Containerd.TaskApi.V2.TaskReflection.Descriptor,
        Containerd.TaskApi.V3.TaskReflection.Descriptor,
        Containerd.TaskApi.V3.Rpc.ServiceReflection.Descriptor,
        Containerd.Types.EventReflection.Descriptor,
        Containerd.Types.IntrospectionReflection.Descriptor,
        Containerd.Types.MetricsReflection.Descriptor,
        Containerd.Types.MountReflection.Descriptor,
    ];

    [Test]
    public void Descriptors_EveryName_NumbersAndTypesAsContainerdHasThem()
    {
        var expected = Expected();
        var actual = Actual();
        Assert.That(actual.Keys, Is.EquivalentTo(expected.Keys));
        Assert.Multiple(() =>
        {
            foreach (var (name, members) in expected)
            {
                Assert.That(actual[name], Is.EquivalentTo(members), name);
            }
        });
    }

    [Test]
    public void TypeUrls_Metrics_AreTheMessagesFullNames()
    {
        Assert.That(CgroupMetrics.TypeUrlV1, Is.EqualTo(Containerd.Cgroups.V1.Metrics.Descriptor.FullName));
        Assert.That(CgroupMetrics.TypeUrlV2, Is.EqualTo(Containerd.Cgroups.V2.Metrics.Descriptor.FullName));
    }

    [TestCase("containerd.task.v2.Task")]
    [TestCase("containerd.task.v3.Task")]
    public void TaskServices_EveryMethod_AnswersOneRequestOnce(string name)
    {
        var service = s_files.SelectMany(file => file.Services).Single(service => service.FullName == name);
        Assert.That(service.Methods, Has.Count.EqualTo(17));
        Assert.That(service.Methods, Has.All.Matches<MethodDescriptor>(method => !method.IsClientStreaming && !method.IsServerStreaming));
    }

    /// <summary>The table: a name at the line's begin, its members indented below it, separated by commas.</summary>
    private static Dictionary<string, List<string>> Expected()
    {
        var expected = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        List<string> members = [];
        foreach (var line in Contract.Split('\n'))
        {
            if (line.StartsWith(' '))
            {
                members.AddRange(line.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
            }
            else
            {
                expected.Add(line, members = []);
            }
        }

        return expected;
    }

    private static Dictionary<string, List<string>> Actual()
    {
        var actual = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var file in s_files)
        {
            foreach (var message in file.MessageTypes)
            {
                actual.Add(message.FullName, [.. message.Fields.InDeclarationOrder().Select(Describe)]);
            }

            foreach (var each in file.EnumTypes)
            {
                actual.Add(each.FullName, [.. each.Values.Select(value => $"{value.Number} {value.Name}")]);
            }

            foreach (var service in file.Services)
            {
                actual.Add(service.FullName, [.. service.Methods.Select(Describe)]);
            }
        }

        return actual;
    }

    private static string Describe(FieldDescriptor field)
    {
        var type = field.FieldType switch
        {
            FieldType.Message => field.MessageType.FullName,
            FieldType.Enum => field.EnumType.FullName,
            var scalar => scalar.ToString().ToLowerInvariant(),
        };
        var label = field.IsRepeated ? "repeated " : field.RealContainingOneof is null && field.ContainingOneof is not null ? "optional " : "";
        return $"{field.FieldNumber} {field.Name} {label}{type}";
    }

    private static string Describe(MethodDescriptor method) =>
        $"{method.Name}({method.InputType.FullName} -> {(method.IsServerStreaming ? "stream " : "")}{method.OutputType.FullName})";
}
