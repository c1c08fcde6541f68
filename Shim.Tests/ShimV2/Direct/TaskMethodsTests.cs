using System.Runtime.CompilerServices;
using Containerd.TaskApi.V2;
using NUnit.Framework;
using Shim.Transport.ShimV2;

namespace Shim.Tests.ShimV2.Direct;

public sealed class TaskMethodsTests
{
    [Test]
    public void Table_HasExactlyTheMethodsOfTheService_WithTheirMessages()
    {
        // Nothing is called: any object of the type will do.
        var methods = TaskMethods.Of((TaskApi)RuntimeHelpers.GetUninitializedObject(typeof(TaskApi)));
        var service = TaskReflection.Descriptor.Services.Single(service => service.FullName == "containerd.task.v2.Task");
        Assert.That(
            methods.Select(method => (method.Name, method.Parser.ParseFrom([]).Descriptor.FullName)), Is.EquivalentTo(service.Methods.Select(method => (method.Name, method.InputType.FullName))));
        Assert.That(service.Methods.Where(method => method.IsClientStreaming || method.IsServerStreaming), Is.Empty);
    }

    [Test]
    public void Version3_HasTheSameMethods() => Assert.That(
        Containerd.TaskApi.V3.Rpc.Task.Descriptor.Methods.Select(method => method.Name),
        Is.EqualTo(TaskReflection.Descriptor.Services.Single().Methods.Select(method => method.Name)));
}
