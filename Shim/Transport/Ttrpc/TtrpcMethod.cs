using Google.Protobuf;
using Grpc.Core;

namespace Shim.Transport.Ttrpc;

/// <summary>One entry of <see cref="TtrpcMethods"/>: how a call of this shape is run.</summary>
internal abstract class TtrpcMethod
{
    /// <summary>Whether the caller may send messages after the request.</summary>
    internal virtual bool TakesStream => false;

    /// <summary>Whether anything but one answer goes back.</summary>
    internal virtual bool GivesStream => false;

    /// <summary>Runs the handler. The result is the answer, or null when <see cref="GivesStream"/>.</summary>
    internal abstract Task<IMessage?> RunAsync(ServerCall call, ByteString payload);

    /// <summary>Parses what the caller sent; InvalidArgument when it is no such message.</summary>
    internal static IMessage Parse(MessageParser parser, ByteString payload)
    {
        try
        {
            return parser.ParseFrom(payload);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, $"unmarshal payload error: {e.Message}"));
        }
    }
}

/// <summary>One request, one answer.</summary>
internal sealed class UnaryMethod(MessageParser parser, Func<IMessage, TtrpcContext, Task<IMessage>> handler) : TtrpcMethod
{
    // Not async: the payload would stay in memory beside the message for as long as the handler runs.
    internal override Task<IMessage?> RunAsync(ServerCall call, ByteString payload) => AnswerAsync(handler(Parse(parser, payload), call.Context));

    private static async Task<IMessage?> AnswerAsync(Task<IMessage> handled) => await handled.ConfigureAwait(false);
}

/// <summary>One request, many messages back.</summary>
internal sealed class ServerStreamingMethod(MessageParser parser, Func<IMessage, TtrpcStreamWriter, TtrpcContext, Task> handler) : TtrpcMethod
{
    internal override bool GivesStream => true;

    internal override Task<IMessage?> RunAsync(ServerCall call, ByteString payload) =>
        EndAsync(handler(Parse(parser, payload), call.NewWriter(), call.Context));

    private static async Task<IMessage?> EndAsync(Task handled)
    {
        await handled.ConfigureAwait(false);
        return null;
    }
}

/// <summary>Many messages in, one answer.</summary>
internal sealed class ClientStreamingMethod(Func<TtrpcStream, TtrpcContext, Task<IMessage>> handler) : TtrpcMethod
{
    internal override bool TakesStream => true;

    internal override async Task<IMessage?> RunAsync(ServerCall call, ByteString payload) =>
        await handler(call.NewStream(), call.Context).ConfigureAwait(false);
}

/// <summary>Messages both ways.</summary>
internal sealed class StreamingMethod(Func<TtrpcStream, TtrpcContext, Task> handler) : TtrpcMethod
{
    internal override bool TakesStream => true;

    internal override bool GivesStream => true;

    internal override async Task<IMessage?> RunAsync(ServerCall call, ByteString payload)
    {
        await handler(call.NewStream(), call.Context).ConfigureAwait(false);
        return null;
    }
}
