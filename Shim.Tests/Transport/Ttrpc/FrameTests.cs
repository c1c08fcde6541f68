using NUnit.Framework;
using Shim.Transport.Ttrpc;

namespace Shim.Tests.Transport.Ttrpc;

/// <summary>The ten bytes of a header, and the messages within, as they stand on the wire.</summary>
public sealed class FrameTests
{
    // The second is the answer of a Go shim to Task/Connect.
    [TestCase("00000005 00000001 01 00", 5u, 1u, FrameType.Request, FrameFlags.None)]
    [TestCase("0000000a 00000001 02 00", 10u, 1u, FrameType.Response, FrameFlags.None)]
    [TestCase("00000000 00000003 03 05", 0u, 3u, FrameType.Data, FrameFlags.RemoteClosed | FrameFlags.NoData)]
    [TestCase("00400000 fffffffd 01 02", 4u << 20, 0xfffffffdu, FrameType.Request, FrameFlags.RemoteOpen)]
    [TestCase("ffffffff 80000000 ff ff", uint.MaxValue, 1u << 31, (FrameType)255, (FrameFlags)255)]
    public void Header_Bytes_ReadAndWritten(string hex, uint length, uint id, object type, object flags)
    {
        var bytes = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        var header = FrameHeader.Read(bytes);
        Assert.That(header, Is.EqualTo(new FrameHeader(length, id, (FrameType)type, (FrameFlags)flags)));
        var written = new byte[FrameHeader.Size];
        header.Write(written);
        Assert.That(written, Is.EqualTo(bytes));
    }

    [TestCase(4u << 20, false)]
    [TestCase((4u << 20) + 1, true)]
    [TestCase(uint.MaxValue, true)]
    public void Header_Length_Limit(uint length, bool oversized) =>
        Assert.That(new FrameHeader(length, 1, FrameType.Data, FrameFlags.None).IsOversized, Is.EqualTo(oversized));

    [Test]
    public void Request_Bytes_AreThoseOfTheProtocol()
    {
        var request = new Containerd.Ttrpc.Request { Service = "s", Method = "m", Payload = Google.Protobuf.ByteString.CopyFrom(7), TimeoutNano = 300 };
        request.Metadata.Add(new Containerd.Ttrpc.KeyValue { Key = "k", Value = "v" });
        Assert.That(Convert.ToHexString(Google.Protobuf.MessageExtensions.ToByteArray(request)), Is.EqualTo("0A0173" + "12016D" + "1A0107" + "20AC02" + "2A06" + "0A016B" + "120176"));
    }

    [Test]
    public void Response_Bytes_AreThoseOfTheProtocol()
    {
        var response = new Containerd.Ttrpc.Response
        {
            Status = new Google.Rpc.Status { Code = 5, Message = "x" },
            Payload = Google.Protobuf.ByteString.CopyFrom(7),
        };
        Assert.That(Convert.ToHexString(Google.Protobuf.MessageExtensions.ToByteArray(response)), Is.EqualTo("0A05" + "0805" + "120178" + "120107"));
    }
}
