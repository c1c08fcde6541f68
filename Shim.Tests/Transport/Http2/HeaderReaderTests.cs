using NUnit.Framework;
using Shim.Transport.Http2;

namespace Shim.Tests.Transport.Http2;

/// <summary>HPACK against the examples of RFC 7541, appendix C, and against blocks that are none.</summary>
public sealed class HeaderReaderTests
{
    [Test]
    public void Requests_WithoutHuffman_AsInC3()
    {
        var reader = new HeaderReader();
        Assert.That(Read(reader, "828684410f7777772e6578616d706c652e636f6d"), Is.EqualTo(":method=GET :scheme=http :path=/ :authority=www.example.com"));
        Assert.That(
            Read(reader, "828684be58086e6f2d6361636865"),
            Is.EqualTo(":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache"));
        Assert.That(
            Read(reader, "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"),
            Is.EqualTo(":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value"));
    }

    [Test]
    public void Requests_WithHuffman_AsInC4()
    {
        var reader = new HeaderReader();
        Assert.That(Read(reader, "828684418cf1e3c2e5f23a6ba0ab90f4ff"), Is.EqualTo(":method=GET :scheme=http :path=/ :authority=www.example.com"));
        Assert.That(
            Read(reader, "828684be5886a8eb10649cbf"),
            Is.EqualTo(":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache"));
        Assert.That(
            Read(reader, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"),
            Is.EqualTo(":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value"));
    }

    [Test]
    public void Responses_WithEviction_AsInC6()
    {
        // The table has 256 bytes in these: three headers of the first answer, and each of the next ones pushes one out.
        var reader = new HeaderReader();
        const string date1 = "Mon, 21 Oct 2013 20:13:21 GMT";
        const string date2 = "Mon, 21 Oct 2013 20:13:22 GMT";
        Assert.That(
            Read(reader, "3fe101" + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"),
            Is.EqualTo($":status=302 cache-control=private date={date1} location=https://www.example.com"));
        Assert.That(
            Read(reader, "4883640effc1c0bf"), Is.EqualTo($":status=307 cache-control=private date={date1} location=https://www.example.com"));
        Assert.That(
            Read(reader, "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"),
            Is.EqualTo($":status=200 cache-control=private date={date2} location=https://www.example.com content-encoding=gzip set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"));
    }

    [TestCase("80", TestName = "entry 0")]
    [TestCase("be", TestName = "an entry that was never remembered")]
    [TestCase("ff", TestName = "a number without its end")]
    [TestCase("ffffffffff7f", TestName = "a number that is too large")]
    [TestCase("00", TestName = "a literal without a name")]
    [TestCase("0001", TestName = "a name without its bytes")]
    [TestCase("000161", TestName = "a name without a value")]
    [TestCase("00016105", TestName = "a value without its bytes")]
    [TestCase("000084ffffffff", TestName = "Huffman code of the end of text")]
    [TestCase("0000811e", TestName = "padding that is not all ones")]
    [TestCase("0000821fff", TestName = "padding of a whole byte")]
    [TestCase("3fe21f", TestName = "a table larger than allowed")]
    [TestCase("8220", TestName = "a change of the table in the middle")]
    public void Broken_EndsTheConnection(string block) => Assert.That(
        () => Read(new HeaderReader(), block), Throws.TypeOf<Http2Exception>().With.Property("Code").EqualTo(Http2ErrorCode.Compression));

    [Test]
    public void ManyFromFewBytes_Refused()
    {
        // One long header that is remembered, and then named again and again: a bomb.
        var value = new string('x', 3000);
        byte[] block = [0x40, 1, (byte)'a', 0x7f, 0xb9, 0x16, .. System.Text.Encoding.ASCII.GetBytes(value), .. Enumerable.Repeat((byte)0xbe, 100)];
        Assert.That(() => new HeaderReader().Read(block), Throws.TypeOf<Http2Exception>().With.Property("Code").EqualTo(Http2ErrorCode.EnhanceYourCalm));
    }

    [Test]
    public void Huffman_EveryByte_ComesBack()
    {
        // Codes of one length follow each other in the order of their symbols; the test makes them from the RFC's lengths by itself.
        foreach (var (symbol, code, length) in HuffmanSamples.All)
        {
            var text = new List<byte>();
            var bits = HuffmanSamples.Pack([(code, length), (code, length)]);
            Assert.That(HuffmanCode.TryDecode(bits, text), Is.True, $"symbol {symbol}");
            Assert.That(text, Is.EqualTo(new[] { symbol, symbol }));
        }
    }

    private static string Read(HeaderReader reader, string block) =>
        string.Join(' ', reader.Read(Convert.FromHexString(block)).Select(header => $"{header.Key}={header.Value}"));

    /// <summary>Codes as the RFC prints them, one or more of each length.</summary>
    private static class HuffmanSamples
    {
        internal static (byte Symbol, uint Code, int Length)[] All { get; } =
        [
            ((byte)'0', 0x0, 5), ((byte)'t', 0x9, 5), ((byte)' ', 0x14, 6), ((byte)'u', 0x2d, 6), ((byte)':', 0x5c, 7), ((byte)'z', 0x7b, 7),
            ((byte)'&', 0xf8, 8), ((byte)'Z', 0xfd, 8), ((byte)'!', 0x3f8, 10), ((byte)'?', 0x3fc, 10), ((byte)'\'', 0x7fa, 11), ((byte)'|', 0x7fc, 11),
            ((byte)'#', 0xffa, 12), ((byte)'>', 0xffb, 12), (0, 0x1ff8, 13), ((byte)'~', 0x1ffd, 13), ((byte)'^', 0x3ffc, 14), ((byte)'}', 0x3ffd, 14),
            ((byte)'<', 0x7ffc, 15), ((byte)'{', 0x7ffe, 15), ((byte)'\\', 0x7fff0, 19), (208, 0x7fff2, 19), (128, 0xfffe6, 20), (226, 0xfffed, 20),
            (153, 0x1fffdc, 21), (129, 0x3fffd2, 22), (1, 0x7fffd8, 23), (9, 0xffffea, 24), (199, 0x1ffffec, 25), (192, 0x3ffffe0, 26), (203, 0x7ffffde, 27),
            (2, 0xfffffe2, 28), (249, 0xffffffe, 28), (10, 0x3ffffffc, 30), (13, 0x3ffffffd, 30), (22, 0x3ffffffe, 30),
        ];

        internal static byte[] Pack((uint Code, int Length)[] codes)
        {
            var bits = string.Concat(codes.Select(code => Convert.ToString(code.Code, 2).PadLeft(code.Length, '0')));
            bits = bits.PadRight((bits.Length + 7) / 8 * 8, '1');
            return [.. Enumerable.Range(0, bits.Length / 8).Select(i => Convert.ToByte(bits.Substring(i * 8, 8), 2))];
        }
    }
}
