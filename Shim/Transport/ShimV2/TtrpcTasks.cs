using Google.Protobuf;
using Shim.Transport.Ttrpc;

namespace Shim.Transport.ShimV2;

/// <summary>The task API on ttrpc. Versions 2 and 3 differ in the name of the service only, and both are always there.</summary>
internal sealed class TtrpcTasks : IMethodTable
{
    /// <summary>The names that the service has had.</summary>
    internal static readonly string[] Services = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

    private readonly TtrpcMethods _methods = new();

    /// <summary>The methods of <paramref name="api"/> for a server.</summary>
    internal static TtrpcMethods Methods(TaskApi api)
    {
        var table = new TtrpcTasks();
        TaskMethods.AddTo(table, api);
        return table._methods;
    }

    /// <inheritdoc/>
    public void Add<TRequest>(string method, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, Task<IMessage>> handler)
        where TRequest : class, IMessage<TRequest>
    {
        foreach (var service in Services)
        {
            _methods.Unary(service, method, parser, (request, call) => handler(request, call.CancellationToken));
        }
    }
}
