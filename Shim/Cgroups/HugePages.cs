using System.Globalization;

namespace Shim.Cgroups;

/// <summary>The sizes of huge pages.</summary>
internal static class HugePages
{
    private const string Prefix = "hugepages-";
    private const string Suffix = "kB";

    /// <summary>Smallest first, as the kernel names the files of its hugetlb controller ("64KB", "2MB", "1GB"); empty without huge pages.</summary>
    /// <param name="root">Put before the path; empty on a real machine.</param>
    internal static IReadOnlyList<string> Sizes(string root)
    {
        string[] found;
        try
        {
            found = Directory.GetDirectories(root + "/sys/kernel/mm/hugepages");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }

        return [.. found.Select(Kilobytes).Where(size => size > 0).Order().Select(Name)];
    }

    private static ulong Kilobytes(string path)
    {
        var name = Path.GetFileName(path.AsSpan());
        return name.StartsWith(Prefix, StringComparison.Ordinal) && name.EndsWith(Suffix, StringComparison.Ordinal)
            && ulong.TryParse(name[Prefix.Length..^Suffix.Length], NumberStyles.None, CultureInfo.InvariantCulture, out var size) ? size : 0;
    }

    private static string Name(ulong kilobytes) => kilobytes switch
    {
        >= 1 << 20 => string.Create(CultureInfo.InvariantCulture, $"{kilobytes >> 20}GB"),
        >= 1 << 10 => string.Create(CultureInfo.InvariantCulture, $"{kilobytes >> 10}MB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{kilobytes}KB"),
    };
}
