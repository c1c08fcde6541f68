using Google.Protobuf;

namespace Shim.Transport.Ttrpc;

/// <summary>The table of what a server answers: service and method to a handler. It is filled before the server starts and not changed after.</summary>
internal sealed class TtrpcMethods
{
    private readonly Dictionary<string, Dictionary<string, TtrpcMethod>> _services = new(StringComparer.Ordinal);

    /// <summary>One request, one answer.</summary>
    internal TtrpcMethods Unary<TRequest>(
        string service,
        string method,
        MessageParser<TRequest> parser,
        Func<TRequest, TtrpcContext, Task<IMessage>> handler)
        where TRequest : class, IMessage<TRequest> =>
        Add(service, method, new UnaryMethod(parser, (request, call) => handler((TRequest)request, call)));

    /// <summary>One request, one answer; the handler gets what the parser makes, whatever that is.</summary>
    internal TtrpcMethods Unary(string service, string method, MessageParser parser, Func<IMessage, TtrpcContext, Task<IMessage>> handler) =>
        Add(service, method, new UnaryMethod(parser, handler));

    /// <summary>One request, and as many messages back as the handler writes.</summary>
    internal TtrpcMethods ServerStreaming<TRequest>(
        string service,
        string method,
        MessageParser<TRequest> parser,
        Func<TRequest, TtrpcStreamWriter, TtrpcContext, Task> handler)
        where TRequest : class, IMessage<TRequest> =>
        Add(service, method, new ServerStreamingMethod(parser, (request, writer, call) => handler((TRequest)request, writer, call)));

    /// <summary>Messages in, and one answer at the end.</summary>
    internal TtrpcMethods ClientStreaming(string service, string method, Func<TtrpcStream, TtrpcContext, Task<IMessage>> handler) =>
        Add(service, method, new ClientStreamingMethod(handler));

    /// <summary>Messages both ways, in whatever order the two sides agree upon.</summary>
    internal TtrpcMethods Streaming(string service, string method, Func<TtrpcStream, TtrpcContext, Task> handler) =>
        Add(service, method, new StreamingMethod(handler));

    /// <summary>The handler of a method; or null, and what is unknown about it in the words of the original.</summary>
    internal TtrpcMethod? Find(string service, string method, out string unknown)
    {
        if (!_services.TryGetValue(service, out var methods))
        {
            unknown = $"service {service}";
            return null;
        }

        unknown = $"method {method}";
        return methods.GetValueOrDefault(method);
    }

    private TtrpcMethods Add(string service, string method, TtrpcMethod handler)
    {
        if (!_services.TryGetValue(service, out var methods))
        {
            _services[service] = methods = new(StringComparer.Ordinal);
        }

        methods.Add(method, handler);
        return this;
    }
}
