using System.Globalization;
using System.Text;

namespace Shim.Transport.Http2;

/// <summary>What gRPC writes into headers.</summary>
internal static class GrpcText
{
    // Of an error's text, so that the trailers stay small enough for any client.
    private const int MaxMessage = 2048;

    /// <summary>A status text as a header holds it: printable ASCII as it is, all else by percent.</summary>
    internal static string Escape(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text.Length > MaxMessage ? text[..MaxMessage] : text);
        var escaped = new StringBuilder(bytes.Length);
        foreach (var octet in bytes)
        {
            if (octet is >= 0x20 and <= 0x7e and not (byte)'%')
            {
                escaped.Append((char)octet);
            }
            else
            {
                escaped.Append(CultureInfo.InvariantCulture, $"%{octet:X2}");
            }
        }

        return escaped.ToString();
    }

    /// <summary>Undoes <see cref="Escape"/>; what is no escape stays.</summary>
    internal static string Unescape(string text)
    {
        var bytes = new List<byte>(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '%' && i + 2 < text.Length && byte.TryParse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var octet))
            {
                bytes.Add(octet);
                i += 2;
            }
            else
            {
                bytes.Add((byte)text[i]);
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    /// <summary>A number of at most eight digits and a unit from hours down to nanoseconds; null when it is none, or as good as none.</summary>
    internal static TimeSpan? Timeout(string text)
    {
        if (text.Length is < 2 or > 9 || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            return null;
        }

        var limit = text[^1] switch
        {
            'H' => TimeSpan.FromHours(count),
            'M' => TimeSpan.FromMinutes(count),
            'S' => TimeSpan.FromSeconds(count),
            'm' => TimeSpan.FromMilliseconds(count),
            'u' => TimeSpan.FromMicroseconds(count),
            'n' => TimeSpan.FromTicks(count / TimeSpan.NanosecondsPerTick),
            _ => (TimeSpan?)null,
        };

        // More than a timer can hold.
        return limit < TimeSpan.FromDays(40) ? limit : null;
    }

    /// <summary>That as a header.</summary>
    internal static string Timeout(TimeSpan limit) => string.Create(CultureInfo.InvariantCulture, $"{(long)limit.TotalMilliseconds}m");
}
