using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using Shim.Tests.Support;
using Shim.Transport.Http2;

namespace Shim.Tests.Transport.Http2;

/// <summary>A peer that writes bytes and reads frames, with code of its own but for the unpacking of headers.</summary>
internal sealed class RawHttp2Peer : IDisposable
{
    internal const byte Data = 0, Headers = 1, Reset = 3, Settings = 4, Ping = 6, GoAway = 7, WindowUpdate = 8, Continuation = 9;
    internal const byte EndStream = 1, Ack = 1, EndHeaders = 4, Padded = 8;

    private readonly HeaderReader _headers = new();

    private RawHttp2Peer(Socket socket) => Socket = socket;

    internal Socket Socket { get; }

    internal static byte[] Preface { get; } = [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. Frame(Settings, 0, 0, [])];

    internal static RawHttp2Peer Connect(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        return new RawHttp2Peer(socket);
    }

    /// <summary>The bytes of a frame; a length other than that of the payload may be claimed.</summary>
    internal static byte[] Frame(byte type, byte flags, uint stream, byte[] payload, int? length = null)
    {
        var size = length ?? payload.Length;
        return
        [
            (byte)(size >> 16), (byte)(size >> 8), (byte)size, type, flags,
            (byte)(stream >> 24), (byte)(stream >> 16), (byte)(stream >> 8), (byte)stream, .. payload,
        ];
    }

    internal static byte[] Number(uint value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];

    /// <summary>A block of headers, not packed.</summary>
    internal static byte[] Block(params (string Name, string Value)[] headers) =>
        [.. headers.SelectMany(header => (byte[])[0, .. Text(header.Name), .. Text(header.Value)])];

    /// <summary>The headers of a call.</summary>
    internal static byte[] CallBlock(string method, params (string Name, string Value)[] more) => Block(
        [(":method", "POST"), (":scheme", "http"), (":path", $"/{GrpcFixture.Service}/{method}"), ("content-type", "application/grpc"), ("te", "trailers"), .. more]);

    /// <summary>A message with its prefix.</summary>
    internal static byte[] Message(IMessage message) => [0, .. Number((uint)message.CalculateSize()), .. message.ToByteArray()];

    /// <summary>A whole call.</summary>
    internal static byte[] Call(uint stream, string method, IMessage message) =>
        [.. Frame(Headers, EndHeaders, stream, CallBlock(method)), .. Frame(Data, EndStream, stream, Message(message))];

    internal async Task SendAsync(params byte[][] frames)
    {
        foreach (var frame in frames)
        {
            for (var sent = 0; sent < frame.Length;)
            {
                sent += await Socket.SendAsync(frame.AsMemory(sent)).AsTask().WithinAsync(Poll.Deadline, "the peer takes bytes");
            }
        }
    }

    /// <summary>The next frame of a type, others are passed over; null at the end of the connection.</summary>
    internal async Task<(byte Flags, uint Stream, byte[] Payload)?> ReadAsync(byte type)
    {
        while (await ReadFrameAsync() is { } frame)
        {
            if (frame.Type == type)
            {
                return (frame.Flags, frame.Stream, frame.Payload);
            }
        }

        return null;
    }

    internal async Task<(byte Type, byte Flags, uint Stream, byte[] Payload)?> ReadFrameAsync()
    {
        if (await ReadBytesAsync(9) is not { } header)
        {
            return null;
        }

        var length = (header[0] << 16) | (header[1] << 8) | header[2];
        var stream = (uint)((header[5] << 24) | (header[6] << 16) | (header[7] << 8) | header[8]);
        return await ReadBytesAsync(length) is { } payload ? (header[3], header[4], stream, payload) : null;
    }

    /// <summary>What a stream gives until it ends: its messages' bytes and its headers and trailers. Other streams' frames are passed over.</summary>
    internal async Task<(byte[] Body, Dictionary<string, string> Headers)> AnswerAsync(uint stream)
    {
        var body = new List<byte>();
        var headers = new Dictionary<string, string>();
        while (await ReadFrameAsync() is { } frame)
        {
            if (frame.Type == Headers)
            {
                foreach (var (name, value) in _headers.Read(frame.Payload))
                {
                    if (frame.Stream == stream)
                    {
                        headers[name] = value;
                    }
                }
            }
            else if (frame.Type == Data && frame.Stream == stream)
            {
                body.AddRange(frame.Payload);
            }

            if (frame.Stream == stream && frame.Type is Headers or Data && (frame.Flags & EndStream) != 0)
            {
                return ([.. body], headers);
            }
        }

        throw new EndOfStreamException("the connection has ended before the answer");
    }

    /// <summary>The status of a call.</summary>
    internal async Task<int> StatusAsync(uint stream) =>
        int.Parse((await AnswerAsync(stream)).Headers.GetValueOrDefault("grpc-status", "-1"), CultureInfo.InvariantCulture);

    /// <summary>The code of the GOAWAY that the connection ends with; null when it ends without.</summary>
    internal async Task<uint?> GoodbyeAsync()
    {
        uint? code = null;
        try
        {
            while (await ReadFrameAsync() is { } frame)
            {
                if (frame.Type == GoAway)
                {
                    code = (uint)((frame.Payload[4] << 24) | (frame.Payload[5] << 16) | (frame.Payload[6] << 8) | frame.Payload[7]);
                }
            }
        }
        catch (SocketException)
        {
            // A reset is an end too.
        }

        return code;
    }

    public void Dispose() => Socket.Dispose();

    private static byte[] Text(string text) => [.. (byte[])(text.Length < 127 ? [(byte)text.Length] : [127, .. Varint(text.Length - 127)]), .. Encoding.Latin1.GetBytes(text)];

    private static List<byte> Varint(int value)
    {
        var bytes = new List<byte>();
        for (; value > 0x7f; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
        return bytes;
    }

    private async Task<byte[]?> ReadBytesAsync(int count)
    {
        var bytes = new byte[count];
        for (var filled = 0; filled < count;)
        {
            var received = await Socket.ReceiveAsync(bytes.AsMemory(filled)).AsTask().WithinAsync(Poll.Deadline, "a frame comes");
            if (received == 0)
            {
                return null;
            }

            filled += received;
        }

        return bytes;
    }
}
