using System.Globalization;

namespace Supervisor.Cli.Parsing;

/// <summary>
/// Names and numbers of Linux signals (x86-64 and arm64 agree on them). A table of our own: Mono.Posix's Signum knows no real-time
/// signals and has two names for some numbers.
/// </summary>
internal static class SignalNames
{
    private const int RealTimeMin = 34;
    private const int RealTimeMax = 64;

    // By number, from 1.
    private static readonly string[] s_names =
    [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];

    private static readonly Dictionary<string, int> s_otherNames = new(StringComparer.OrdinalIgnoreCase)
    {
        ["IOT"] = 6,
        ["CLD"] = 17,
        ["POLL"] = 29,
    };

    /// <summary>The number of "TERM", "sigterm", "RTMIN+3", "RTMAX-1" or "15"; null when there is no such signal.</summary>
    internal static int? Parse(string text)
    {
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
        {
            return number is >= 1 and <= RealTimeMax ? number : null;
        }

        var name = text.StartsWith("SIG", StringComparison.OrdinalIgnoreCase) ? text[3..] : text;
        if (Array.FindIndex(s_names, known => known.Equals(name, StringComparison.OrdinalIgnoreCase)) is >= 0 and var index)
        {
            return index + 1;
        }

        return s_otherNames.TryGetValue(name, out var other) ? other : RealTime(name, "RTMIN", RealTimeMin, 1) ?? RealTime(name, "RTMAX", RealTimeMax, -1);
    }

    /// <summary>"SIGTERM", "SIGRTMIN+3"; the bare number when there is no name.</summary>
    internal static string Format(uint signal) => signal switch
    {
        >= 1 when signal <= s_names.Length => $"SIG{s_names[signal - 1]}",
        RealTimeMin => "SIGRTMIN",
        > RealTimeMin and <= RealTimeMax => string.Create(CultureInfo.InvariantCulture, $"SIGRTMIN+{signal - RealTimeMin}"),
        _ => signal.ToString(CultureInfo.InvariantCulture),
    };

    private static int? RealTime(string name, string anchor, int anchorNumber, int direction)
    {
        if (!name.StartsWith(anchor, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        var rest = name.AsSpan(anchor.Length);
        if (rest.IsEmpty)
        {
            return anchorNumber;
        }

        return rest[0] == (direction > 0 ? '+' : '-')
            && int.TryParse(rest[1..], NumberStyles.None, CultureInfo.InvariantCulture, out var distance)
            && anchorNumber + (direction * distance) is >= RealTimeMin and <= RealTimeMax and var signal
            ? signal
            : null;
    }
}
