using System.Buffers;
using System.Globalization;
using System.Text;

namespace Supervisor.Cli.Logs;

/// <summary>Points in time as logs and people write them, in nanoseconds since 1970 (UTC): finer than DateTime, and good until 2262.</summary>
internal static class LogTime
{
    private const long NanosecondsPerSecond = 1_000_000_000;
    private static readonly SearchValues<char> s_numbers = SearchValues.Create("0123456789.");

    private const int DateLength = 10;
    private const int SecondsLength = 19;

    private static readonly (string Name, double Nanoseconds)[] s_units =
    [
        ("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 24 * 3600e9),
    ];

    /// <summary>The present moment.</summary>
    internal static long Now => Of(DateTime.UtcNow);

    private static long Of(DateTime utc) => (utc - DateTime.UnixEpoch).Ticks * 100;

    /// <summary>Understands RFC 3339, with any number of digits behind the second; what has no zone is UTC.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> text, out long nanoseconds)
    {
        nanoseconds = 0;
        if (text.Length < SecondsLength
            || !Digits(text, 0, 4, out var year) || text[4] != '-' || !Digits(text, 5, 2, out var month) || text[7] != '-' || !Digits(text, 8, 2, out var day)
            || text[DateLength] is not ((byte)'T' or (byte)'t' or (byte)' ')
            || !Digits(text, 11, 2, out var hour) || text[13] != ':' || !Digits(text, 14, 2, out var minute) || text[16] != ':' || !Digits(text, 17, 2, out var second)
            || year is < 1970 or > 2261 || month is < 1 or > 12 || day < 1 || day > DateTime.DaysInMonth(year, month) || hour > 23 || minute > 59 || second > 60)
        {
            return false;
        }

        var rest = text[SecondsLength..];
        var fraction = 0L;
        if (!rest.IsEmpty && rest[0] == '.')
        {
            var weight = NanosecondsPerSecond;
            var i = 1;
            for (; i < rest.Length && char.IsAsciiDigit((char)rest[i]); i++)
            {
                weight /= 10;
                fraction += (rest[i] - '0') * weight;
            }

            if (i == 1)
            {
                return false;
            }

            rest = rest[i..];
        }

        if (!TryParseZone(rest, out var offsetMinutes))
        {
            return false;
        }

        var days = (new DateTime(year, month, day, 0, 0, 0, DateTimeKind.Utc) - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerDay;
        var seconds = (((((days * 24) + hour) * 60) + minute - offsetMinutes) * 60) + second;
        nanoseconds = (seconds * NanosecondsPerSecond) + fraction;
        return true;
    }

    /// <summary>
    /// What a person means with --since and --until: RFC 3339, a date, unix seconds, or how long ago ("10m", "1h30m"). Null for anything else.
    /// </summary>
    internal static long? ParseBound(string text, DateTime utcNow)
    {
        if (decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var unixSeconds))
        {
            return unixSeconds <= long.MaxValue / NanosecondsPerSecond ? (long)(unixSeconds * NanosecondsPerSecond) : null;
        }

        if (TryParse(Encoding.UTF8.GetBytes(text.Length == DateLength ? $"{text}T00:00:00Z" : text), out var time))
        {
            return time;
        }

        return ParseDuration(text) is { } ago ? Of(utcNow) - ago : null;
    }

    private static long? ParseDuration(string text)
    {
        var total = 0.0;
        var rest = text.AsSpan();
        if (rest.IsEmpty)
        {
            return null;
        }

        while (!rest.IsEmpty)
        {
            var digits = rest.IndexOfAnyExcept(s_numbers);
            if (digits <= 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
            {
                return null;
            }

            rest = rest[digits..];
            var letters = rest.IndexOfAny(s_numbers);
            var unit = letters < 0 ? rest : rest[..letters];
            var factor = 0.0;
            foreach (var (name, nanoseconds) in s_units)
            {
                factor = unit.SequenceEqual(name) ? nanoseconds : factor;
            }

            if (factor == 0)
            {
                return null;
            }

            total += number * factor;
            rest = rest[unit.Length..];
        }

        return total < long.MaxValue / 2 ? (long)total : null;
    }

    private static bool TryParseZone(ReadOnlySpan<byte> text, out int offsetMinutes)
    {
        offsetMinutes = 0;
        if (text.IsEmpty || (text.Length == 1 && text[0] is (byte)'Z' or (byte)'z'))
        {
            return true;
        }

        if (text.Length != 6 || text[0] is not ((byte)'+' or (byte)'-') || text[3] != ':' || !Digits(text, 1, 2, out var hours) || !Digits(text, 4, 2, out var minutes))
        {
            return false;
        }

        offsetMinutes = ((hours * 60) + minutes) * (text[0] == '-' ? -1 : 1);
        return hours <= 23 && minutes <= 59;
    }

    private static bool Digits(ReadOnlySpan<byte> text, int start, int count, out int number)
    {
        number = 0;
        foreach (var character in text.Slice(start, count))
        {
            if (!char.IsAsciiDigit((char)character))
            {
                return false;
            }

            number = (number * 10) + (character - '0');
        }

        return true;
    }
}
