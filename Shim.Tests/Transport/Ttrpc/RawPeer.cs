using System.Net.Sockets;
using Containerd.Ttrpc;
using Google.Protobuf;
using Shim.Tests.Support;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>A peer that writes bytes and reads frames, with code of its own: what the library does wrong on both sides alike shows here.</summary>
internal sealed class RawPeer : IDisposable
{
    private RawPeer(Socket socket) => Socket = socket;

    internal Socket Socket { get; }

    internal static RawPeer Connect(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        return new RawPeer(socket);
    }

    /// <summary>The other end of a client's connection.</summary>
    internal static RawPeer Over(Socket socket) => new(socket);

    /// <summary>The bytes of a frame; a length other than that of the data may be claimed.</summary>
    internal static byte[] Frame(uint id, byte type, byte flags, byte[] data, uint? length = null)
    {
        var size = length ?? (uint)data.Length;
        return
        [
            (byte)(size >> 24), (byte)(size >> 16), (byte)(size >> 8), (byte)size,
            (byte)(id >> 24), (byte)(id >> 16), (byte)(id >> 8), (byte)id,
            type, flags, .. data,
        ];
    }

    /// <summary>The data of a request.</summary>
    internal static byte[] Request(string method, IMessage? message = null, long timeout = 0, string service = TtrpcFixture.Service) => new Request
    {
        Service = service,
        Method = method,
        Payload = message?.ToByteString() ?? ByteString.Empty,
        TimeoutNano = timeout,
    }.ToByteArray();

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

    /// <summary>The next frame, or null at the end of the connection.</summary>
    internal async Task<(uint Id, byte Type, byte Flags, byte[] Data)?> ReadAsync()
    {
        if (await ReadAsync(10) is not { } header)
        {
            return null;
        }

        var length = (header[0] << 24) | (header[1] << 16) | (header[2] << 8) | header[3];
        var id = (uint)((header[4] << 24) | (header[5] << 16) | (header[6] << 8) | header[7]);
        return await ReadAsync(length) is { } data ? (id, header[8], header[9], data) : null;
    }

    /// <summary>The next frame, which is a response.</summary>
    internal async Task<(uint Id, Response Response)> ReadResponseAsync()
    {
        var frame = await ReadAsync() ?? throw new EndOfStreamException("the connection has ended");
        return frame.Type == 2
            ? (frame.Id, Response.Parser.ParseFrom(frame.Data))
            : throw new InvalidDataException($"a frame of type {frame.Type} instead of a response");
    }

    /// <summary>Whether the connection has ended, in whatever way; what still comes is passed over.</summary>
    internal async Task EndAsync()
    {
        var buffer = new byte[65536];
        try
        {
            while (await Socket.ReceiveAsync(buffer).WithinAsync(Poll.Deadline, "the connection ends") > 0)
            {
            }
        }
        catch (SocketException)
        {
            // A reset is an end too.
        }
    }

    public void Dispose() => Socket.Dispose();

    private async Task<byte[]?> ReadAsync(int count)
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
