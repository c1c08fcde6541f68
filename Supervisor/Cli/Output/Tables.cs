using System.Globalization;
using Spectre.Console;

namespace Supervisor.Cli.Output;

/// <summary>Tables without lines, as people know them from ps and docker, and the words and numbers in them.</summary>
internal static class Tables
{
    private static readonly string[] s_units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

    /// <summary>An empty table; a column whose name begins with '>' is right-aligned.</summary>
    internal static Table WithColumns(params string[] columns)
    {
        var table = new Table().Border(TableBorder.None);
        foreach (var name in columns)
        {
            var right = name.StartsWith('>');
            var column = new TableColumn(new Text(right ? name[1..] : name)) { NoWrap = true, Padding = new Padding(0, 0, 3, 0) };
            table.AddColumn(right ? column.RightAligned() : column);
        }

        return table;
    }

    /// <summary>A row of plain text: nothing in it is markup.</summary>
    internal static void Row(this Table table, params string[] cells) => table.AddRow(cells.Select(cell => new Text(cell)));

    /// <summary>Names and values, one pair a line; pairs with an empty value are left out.</summary>
    internal static void Print(CliConsole console, IEnumerable<(string Name, string Value)> pairs, int indent = 0)
    {
        var kept = pairs.Where(pair => pair.Value.Length > 0).ToList();
        var width = kept.Count == 0 ? 0 : kept.Max(pair => pair.Name.Length);
        foreach (var (name, value) in kept)
        {
            console.Out.WriteLine($"{new string(' ', indent)}{(name + ":").PadRight(width + 2)}{value}");
        }
    }

    /// <summary>A number of bytes in the unit that keeps it short.</summary>
    internal static string Bytes(ulong bytes)
    {
        double value = bytes;
        var unit = 0;
        while (value >= 1024 && unit < s_units.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        return unit == 0
            ? string.Create(CultureInfo.InvariantCulture, $"{bytes} B")
            : string.Create(CultureInfo.InvariantCulture, $"{value:0.0} {s_units[unit]}");
    }

    /// <summary>How long ago something was, in its largest unit: "5s", "3m", "2h", "4d".</summary>
    internal static string Age(TimeSpan age) => age switch
    {
        { TotalSeconds: < 1 } => "now",
        { TotalMinutes: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{(int)age.TotalSeconds}s"),
        { TotalHours: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{(int)age.TotalMinutes}m"),
        { TotalDays: < 2 } => string.Create(CultureInfo.InvariantCulture, $"{(int)age.TotalHours}h"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{(int)age.TotalDays}d"),
    };

    /// <summary>argv as a person would type it: words that need quotes have them.</summary>
    internal static string CommandLine(IEnumerable<string> arguments) => string.Join(' ', arguments.Select(Quote));

    private static string Quote(string word) =>
        word.Length > 0 && word.All(c => char.IsLetterOrDigit(c) || "-_=+./:,@%[]".Contains(c, StringComparison.Ordinal))
            ? word
            : $"'{Printable(word).Replace("'", "'\\''", StringComparison.Ordinal)}'";

    // A container chooses its arguments: control characters in them must not reach the terminal of whoever lists it.
    private static string Printable(string word) =>
        string.Concat(word.Select(c => char.IsControl(c) ? string.Create(CultureInfo.InvariantCulture, $"\\x{(int)c:x2}") : c.ToString()));
}
