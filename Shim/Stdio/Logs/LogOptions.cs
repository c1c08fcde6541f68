using System.Globalization;

namespace Shim.Stdio.Logs;

/// <summary>How a record of a log looks.</summary>
internal enum LogFormat
{
    /// <summary>Kubernetes': time, stream, F or P, and the bytes as they are.</summary>
    Cri,

    /// <summary>Docker's json-file: one object a line.</summary>
    DockerJson,
}

/// <summary>How a <c>log://</c> file is to be written.</summary>
internal sealed record LogOptions
{
    private const int DefaultMaxFiles = 5;
    private const int LargestMaxFiles = 100;

    /// <summary>How a record looks.</summary>
    internal LogFormat Format { get; init; }

    /// <summary>Bytes beyond which a file is rotated; 0 is never.</summary>
    internal long MaxSize { get; init; }

    /// <summary>How many files are kept, the current one included.</summary>
    internal int MaxFiles { get; init; } = DefaultMaxFiles;

    /// <summary>What happens when the disk is full or slow: bytes are dropped and counted, or else the container waits.</summary>
    internal bool DropWhenFull { get; init; }

    /// <summary>Reads the options of an address; FormatException says which one is wrong, and why.</summary>
    internal static LogOptions Parse(IReadOnlyList<KeyValuePair<string, string>> options)
    {
        var result = new LogOptions();
        for (var i = 0; i < options.Count; i++)
        {
            var (name, value) = options[i];
            if (options.Take(i).Any(other => other.Key == name))
            {
                throw new FormatException($"option \"{name}\" is given twice");
            }

            result = name switch
            {
                "format" => result with { Format = FormatOf(value) },
                "max-size" => result with { MaxSize = SizeOf(value) },
                "max-files" => result with { MaxFiles = CountOf(value) },
                "on-full" => result with { DropWhenFull = PolicyOf(value) },
                _ => throw new FormatException($"a log knows no option \"{name}\" (format, max-size, max-files, on-full)"),
            };
        }

        return result;
    }

    private static LogFormat FormatOf(string value) => value switch
    {
        "cri" => LogFormat.Cri,
        "docker-json" => LogFormat.DockerJson,
        _ => throw new FormatException($"format is cri or docker-json, not \"{value}\""),
    };

    private static bool PolicyOf(string value) => value switch
    {
        "block" => false,
        "drop" => true,
        _ => throw new FormatException($"on-full is block or drop, not \"{value}\""),
    };

    private static int CountOf(string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is >= 1 and <= LargestMaxFiles
            ? count
            : throw new FormatException($"max-files is 1 to {LargestMaxFiles}, not \"{value}\"");

    private static long SizeOf(string value)
    {
        var (digits, unit) = value.Length == 0 ? ("", 1L) : char.ToLowerInvariant(value[^1]) switch
        {
            'k' => (value[..^1], 1L << 10),
            'm' => (value[..^1], 1L << 20),
            'g' => (value[..^1], 1L << 30),
            _ => (value, 1L),
        };
        return long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= long.MaxValue / 2 / unit
            ? number * unit
            : throw new FormatException($"max-size is a number of bytes, with k, m or g for 1024 and its powers, not \"{value}\"");
    }
}
