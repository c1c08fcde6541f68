using System.Text;
using System.Text.Json;
using NUnit.Framework;
using Shim.Runtime;

namespace Shim.Tests.Runtime;

public sealed class PlainEncoderTests
{
    [Test]
    public void Write_AnyText_ComesBackAsItWas()
    {
        var random = new Random(3);
        for (var i = 0; i < 2000; i++)
        {
            var text = new StringBuilder();
            for (var length = random.Next(40); length > 0; length--)
            {
                var limit = random.Next(4) switch { 0 => 0x80, 1 => 0x800, 2 => 0xD800, _ => 0x110000 };
                var scalar = random.Next(limit);
                text.Append(Rune.IsValid(scalar) ? new Rune(scalar) : Rune.ReplacementChar);
            }

            var json = Write(text.ToString());
            Assert.That(json, Has.All.InRange((byte)' ', (byte)'~'));
            Assert.That(JsonElement.Parse(json).GetProperty("x").GetString(), Is.EqualTo(text.ToString()));
        }
    }

    [TestCase("plain text <&+'>", "plain text <&+'>")]
    [TestCase("a\"b\\c\nd\u007fé😀", "a\\u0022b\\u005Cc\\u000Ad\\u007F\\u00E9\\uD83D\\uDE00")]
    public void Write_Text_OnlyWhatMustBeIsEscaped(string text, string escaped) =>
        Assert.That(Encoding.ASCII.GetString(Write(text)), Is.EqualTo($"{{\"x\":\"{escaped}\"}}"));

    [Test]
    public void Write_HalfACharacter_ReplacedAsTheFrameworkDoes() =>
        Assert.That(Encoding.ASCII.GetString(Write("half " + new string('\ud83d', 1))), Is.EqualTo("{\"x\":\"half \\uFFFD\"}"));

    private static byte[] Write(string text)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, PlainEncoder.Options))
        {
            json.WriteStartObject();
            json.WriteString("x"u8, text);
            json.WriteEndObject();
        }

        return stream.ToArray();
    }
}
