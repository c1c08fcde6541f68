using Containerd.Ttrpc;
using Google.Protobuf;
using Grpc.Core;

namespace Shim.Transport.Ttrpc;

/// <summary>A call that a client waits for: where the frames of its stream go.</summary>
internal abstract class ClientCall
{
    /// <summary>The number of the stream, once the request is on its way.</summary>
    internal uint Id { get; set; }

    /// <summary>Takes a frame and its lease. True when it was the last of the stream.</summary>
    internal abstract ValueTask<bool> TakeAsync(Frame frame, TimeSpan patience, CancellationToken cancellationToken);

    /// <summary>Ends the call for another reason.</summary>
    internal abstract void Fail(RpcException error);

    /// <summary>Parses a response; its error is an exception.</summary>
    protected static ByteString Payload(Frame frame)
    {
        Response response;
        try
        {
            response = Response.Parser.ParseFrom(frame.Body.Span);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"unmarshal response error: {e.Message}"));
        }

        return response.Status is { Code: not 0 } status
            ? throw new RpcException(new Status((StatusCode)status.Code, status.Message))
            : response.Payload;
    }
}

/// <summary>A call with one answer.</summary>
internal sealed class UnaryClientCall : ClientCall
{
    private readonly TaskCompletionSource<ByteString> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The payload of the answer.</summary>
    internal Task<ByteString> Answer => _answer.Task;

    internal override ValueTask<bool> TakeAsync(Frame frame, TimeSpan patience, CancellationToken cancellationToken)
    {
        using (frame.Lease)
        {
            try
            {
                _answer.TrySetResult(frame.Header.Type == FrameType.Response
                    ? Payload(frame)
                    : throw new RpcException(new Status(StatusCode.Internal, "the server sent a stream where one answer was due")));
            }
            catch (RpcException e)
            {
                _answer.TrySetException(e);
            }
        }

        return ValueTask.FromResult(true);
    }

    internal override void Fail(RpcException error) => _answer.TrySetException(error);
}

/// <summary>A call whose server sends messages, or whose client does.</summary>
/// <param name="answers">Whether a response is a message: the one answer to a stream of the client. Otherwise an empty one is only the end.</param>
internal sealed class StreamClientCall(bool answers) : ClientCall
{
    /// <summary>The messages of the server.</summary>
    internal StreamInbox Inbox { get; } = new();

    internal override async ValueTask<bool> TakeAsync(Frame frame, TimeSpan patience, CancellationToken cancellationToken)
    {
        var last = frame.Header.Type == FrameType.Response || frame.Header.Flags.HasFlag(FrameFlags.RemoteClosed);
        try
        {
            if (MessageOf(frame) is not { } message)
            {
                frame.Lease?.Dispose();
            }
            else if (!await Inbox.AddAsync(message, patience, cancellationToken).ConfigureAwait(false))
            {
                Inbox.End(new RpcException(new Status(StatusCode.ResourceExhausted, "the stream was not read in time")));
                return true;
            }

            if (last)
            {
                Inbox.End();
            }
        }
        catch (RpcException e)
        {
            frame.Lease?.Dispose();
            Inbox.End(e);
            return true;
        }

        return last;
    }

    internal override void Fail(RpcException error) => Inbox.End(error);

    private Frame? MessageOf(Frame frame)
    {
        if (frame.Header.Type == FrameType.Data)
        {
            return frame.Header.Flags.HasFlag(FrameFlags.NoData) ? null : frame;
        }

        var payload = Payload(frame);
        return answers || !payload.IsEmpty ? frame with { Body = payload.ToByteArray() } : null;
    }
}
