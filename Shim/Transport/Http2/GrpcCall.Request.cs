using System.Buffers.Binary;
using Containerd;
using Google.Protobuf;
using Grpc.Core;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Transport.Http2;

/// <content>The request, as it comes in.</content>
internal sealed partial class GrpcCall
{
    private readonly byte[] _prefix = new byte[GrpcMessage.PrefixLength];

    // Guarded by the lock. What comes of a large one before it has its place lies in an array of the size of a stream's window.
    private int _prefixed;
    private byte[] _message = [];
    private int _filled;
    private int _length = -1;
    private long _received;
    private bool _hasPlace;
    private Status? _refusal;
    private bool _requestEnded;

    /// <summary>Takes bytes of the request.</summary>
    internal void Take(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            _received += bytes.Length;
            if (_received > LargeRequests.Above && !_hasPlace && _refusal is null)
            {
                Refuse_NeedsLock(new Status(StatusCode.Internal, "more bytes than the window of the stream"));
            }

            while (!bytes.IsEmpty && _refusal is null)
            {
                if (_prefixed < GrpcMessage.PrefixLength)
                {
                    var count = Math.Min(bytes.Length, GrpcMessage.PrefixLength - _prefixed);
                    bytes[..count].CopyTo(_prefix.AsSpan(_prefixed));
                    bytes = bytes[count..];
                    _prefixed += count;
                    if (_prefixed == GrpcMessage.PrefixLength)
                    {
                        Expect_NeedsLock(BinaryPrimitives.ReadUInt32BigEndian(_prefix.AsSpan(1)));
                    }

                    continue;
                }

                if (bytes.Length > _length - _filled)
                {
                    Refuse_NeedsLock(new Status(StatusCode.InvalidArgument, "the message has another length than it says, or is not the only one"));
                    return;
                }

                bytes.CopyTo(_message.AsSpan(_filled));
                _filled += bytes.Length;
                return;
            }
        }
    }

    /// <summary>The request will not be looked at; the answer is this.</summary>
    internal void Refuse(Status status)
    {
        lock (_lock)
        {
            Refuse_NeedsLock(status);
        }
    }

    /// <summary>The request is complete.</summary>
    internal void EndRequest()
    {
        lock (_lock)
        {
            _requestEnded = true;
            if (_length < 0 || _filled < _length)
            {
                Refuse_NeedsLock(new Status(StatusCode.InvalidArgument, "the call has no message, or an incomplete one"));
            }

            Start_NeedsLock();
        }
    }

    private void Refuse_NeedsLock(Status status)
    {
        _refusal ??= status;
        _message = [];
        Start_NeedsLock();
    }

    private void Expect_NeedsLock(uint length)
    {
        if (_prefix[0] != 0)
        {
            Refuse_NeedsLock(new Status(StatusCode.Unimplemented, "compressed messages are not supported"));
        }
        else if (length > UnixChannel.MaxMessageBytes)
        {
            Refuse_NeedsLock(new Status(StatusCode.ResourceExhausted, $"the message is larger than {UnixChannel.MaxMessageBytes} bytes"));
        }
        else
        {
            _length = (int)length;
            var large = length + GrpcMessage.PrefixLength > LargeRequests.Above;
            _message = new byte[large ? LargeRequests.Above : length];
            if (large)
            {
                _ = EnlargeAsync();
            }
        }
    }

    /// <summary>Waits for a place for a large request, and lets the client send the rest of it then.</summary>
    private async Task EnlargeAsync()
    {
        try
        {
            await _connection.Server.Large.EnterAsync(CancellationToken).ConfigureAwait(false);
            lock (_lock)
            {
                if (_over || _refusal is not null)
                {
                    _connection.Server.Large.Leave();
                    return;
                }

                _hasPlace = true;
                var whole = new byte[_length];
                _message.AsSpan(0, _filled).CopyTo(whole);
                _message = whole;
            }

            await _connection.Link.Output.AddWindowAsync(Id, _length + GrpcMessage.PrefixLength - LargeRequests.Above).ConfigureAwait(false);
            await WatchAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or NativeException)
        {
            // It is given up, or the time for it is over: that is the answer.
            Refuse(new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded"));
        }
        catch (Exception e)
        {
            // Too many wait, or there is no memory for it after all.
            Refuse(ErrorKinds.ToStatus(e));
        }
    }

    /// <summary>Until the request is complete, or does not get on any more.</summary>
    private async Task WatchAsync()
    {
        for (var before = -1L; ;)
        {
            await Clock.DelayAsync(Http2Link.Stall, CancellationToken).ConfigureAwait(false);
            lock (_lock)
            {
                if (_requestEnded)
                {
                    return;
                }

                if (_received == before)
                {
                    Refuse_NeedsLock(new Status(StatusCode.DeadlineExceeded, $"the request did not get on for {Http2Link.Stall.TotalSeconds:0} s"));
                    return;
                }

                before = _received;
            }
        }
    }

    // A method of its own: the bytes would stay in memory beside the message for as long as the method runs.
    private IMessage? TakeRequest(out Status refusal)
    {
        byte[] message;
        lock (_lock)
        {
            refusal = _lost ? new Status(StatusCode.Cancelled, "the client has gone") : _refusal ?? Status.DefaultSuccess;
            if (refusal.StatusCode != StatusCode.OK)
            {
                return null;
            }

            message = _message;
            _message = [];
        }

        try
        {
            return Method!.Parser.ParseFrom(message);
        }
        catch (InvalidProtocolBufferException e)
        {
            refusal = new Status(StatusCode.InvalidArgument, $"cannot read the message: {e.Message}");
            return null;
        }
    }
}
