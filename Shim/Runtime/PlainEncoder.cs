using System.Text.Encodings.Web;
using System.Text.Json;

namespace Shim.Runtime;

/// <summary>
/// Escapes texts in JSON that we write: what JSON wants escaped, and all beyond ASCII. The framework's own encoders do that too, and have tables of 18 KB,
/// in every shim.
/// </summary>
internal sealed class PlainEncoder : JavaScriptEncoder
{
    private const int UnitLength = 6;

    /// <summary>For every writer of JSON in this program.</summary>
    internal static JsonWriterOptions Options { get; } = new() { Encoder = new PlainEncoder() };

    /// <inheritdoc/>
    public override int MaxOutputCharactersPerInputCharacter => 2 * UnitLength;

    /// <inheritdoc/>
    public override bool WillEncode(int unicodeScalar) => unicodeScalar is < ' ' or '"' or '\\' or >= 0x7F;

    /// <inheritdoc/>
    public override unsafe int FindFirstCharacterToEncode(char* text, int textLength)
    {
        for (var i = 0; i < textLength; i++)
        {
            if (WillEncode(text[i]))
            {
                return i;
            }
        }

        return -1;
    }

    /// <inheritdoc/>
    public override unsafe bool TryEncodeUnicodeScalar(int unicodeScalar, char* buffer, int bufferLength, out int numberOfCharactersWritten)
    {
        Span<char> units = stackalloc char[2];
        var count = new System.Text.Rune(unicodeScalar).EncodeToUtf16(units);
        numberOfCharactersWritten = count * UnitLength;
        if (bufferLength < numberOfCharactersWritten)
        {
            numberOfCharactersWritten = 0;
            return false;
        }

        for (var i = 0; i < count; i++)
        {
            var output = new Span<char>(buffer + (i * UnitLength), UnitLength);
            output[0] = '\\';
            output[1] = 'u';
            for (var digit = 0; digit < 4; digit++)
            {
                output[2 + digit] = "0123456789ABCDEF"[(units[i] >> (4 * (3 - digit))) & 15];
            }
        }

        return true;
    }
}
