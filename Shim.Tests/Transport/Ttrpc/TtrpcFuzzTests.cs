using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using NUnit.Framework;
using Shim.Tests.Support;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>Many connections that send frames with faults, chosen by a fixed seed; a good client works beside them the whole time.</summary>
public sealed class TtrpcFuzzTests
{
    private const int Rounds = 400;

    [Test]
    public async Task Fuzz_AnyBytes_TheServerAndItsOtherClientsAreUnharmed()
    {
        await using var fixture = new TtrpcFixture();
        fixture.Gate.SetResult();
        await using var client = fixture.Client();
        var random = new Random(20170217);
        for (var round = 0; round < Rounds; round++)
        {
            using (var peer = fixture.Raw())
            {
                var bytes = Bytes(random);
                try
                {
                    await peer.SendAsync(bytes);
                    if (random.Next(2) == 0)
                    {
                        peer.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
                        await peer.EndAsync();
                    }
                }
                catch (System.Net.Sockets.SocketException)
                {
                    // It may hang up at any time.
                }
            }

            var text = $"round {round}";
            var answer = await client.CallAsync(TtrpcFixture.Service, "echo", new StringValue { Value = text }, StringValue.Parser, Poll.Deadline);
            Assert.That(answer.Value, Is.EqualTo(text));
        }

        await Poll.Until(() => fixture.Server.Connections == 1 && fixture.Server.Calls == 0, Poll.Deadline, "nothing is left but the good client");
        Assert.That(fixture.Server.Incoming.Free, Is.EqualTo(16 << 20));
        Assert.That(fixture.Server.Outgoing.Free, Is.EqualTo(5 << 20));
        Assert.That(fixture.Log, Is.Empty);
    }

    private static byte[] Bytes(Random random)
    {
        var all = new List<byte>();
        for (var frames = random.Next(1, 30); frames > 0; frames--)
        {
            all.AddRange(Frame(random));
        }

        // Some bytes are turned over, and sometimes the end is cut off.
        for (var flips = random.Next(3) == 0 ? random.Next(1, 10) : 0; flips > 0; flips--)
        {
            all[random.Next(all.Count)] ^= (byte)(1 << random.Next(8));
        }

        return [.. random.Next(3) == 0 ? all.Take(random.Next(1, all.Count + 1)) : all];
    }

    private static byte[] Frame(Random random)
    {
        string[] methods = ["echo", "bytes", "fail", "bug", "null", "wait", "count", "sum", "talk", "deaf", "none", ""];
        var id = (uint)random.Next(0, 40);
        var type = (byte)random.Next(0, 5);
        var flags = (byte)random.Next(0, 9);
        var payload = new byte[random.Next(4) switch { 0 => 0, 1 => random.Next(10), 2 => random.Next(5000), _ => random.Next(20_000) }];
        random.NextBytes(payload);
        IMessage message = random.Next(3) switch
        {
            0 => new StringValue { Value = Convert.ToHexString(payload) },
            1 => new Int32Value { Value = random.Next(-1, 50) },
            _ => new BytesValue { Value = ByteString.CopyFrom(payload) },
        };
        return random.Next(4) == 0
            ? RawPeer.Frame(id, type, flags, payload)
            : RawPeer.Frame(id, type, flags, RawPeer.Request(methods[random.Next(methods.Length)], message, random.Next(8) == 0 ? random.NextInt64() : 0));
    }
}
