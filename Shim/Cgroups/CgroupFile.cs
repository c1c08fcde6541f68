using System.Globalization;
using System.Text;
using Shim.Interop;

namespace Shim.Cgroups;

/// <summary>
/// The small files of a cgroup directory. A container's cgroup can vanish at any moment, so a file that isn't there is an answer, not an
/// exception.
/// </summary>
internal static class CgroupFile
{
    /// <summary>The whole text, or null when the file (or its cgroup) isn't there or can't be read.</summary>
    internal static string? Read(string directory, string name) => Fd.ReadText(Path.Combine(directory, name));

    /// <summary>A file that holds one number; 0 for "max", for a limit that is none, and for a missing file.</summary>
    internal static ulong Number(string directory, string name) => Number(Read(directory, name).AsSpan().Trim());

    /// <summary>The value of <paramref name="key"/> in a file of lines "key value"; 0 when there is none.</summary>
    internal static ulong Value(string? text, string key)
    {
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            if (line.StartsWith(key, StringComparison.Ordinal) && line.Length > key.Length && line[key.Length] == ' ')
            {
                return Number(line[(key.Length + 1)..].Trim());
            }
        }

        return 0;
    }

    /// <summary>All of a file of lines "key value"; other lines are passed over.</summary>
    internal static Dictionary<string, ulong> Values(string? text)
    {
        var values = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var space = line.IndexOf(' ');
            if (space > 0 && ulong.TryParse(line[(space + 1)..].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
            {
                values[line[..space].ToString()] = value;
            }
        }

        return values;
    }

    /// <summary>The number that is all of a text; <paramref name="unlimited"/> for "max", and 0 for no text and for what is no number.</summary>
    internal static ulong NumberIn(string? text, ulong unlimited)
    {
        var trimmed = text.AsSpan().Trim();
        return trimmed is "max" ? unlimited : Number(trimmed);
    }

    /// <summary>The process ids in cgroup.procs of the directory and of all below it, each once. 0 (a process outside our view) is left out.</summary>
    internal static IReadOnlyList<int> Processes(string directory)
    {
        var pids = new SortedSet<int>();
        foreach (var each in WithChildren(directory))
        {
            foreach (var line in Read(each, "cgroup.procs").AsSpan().EnumerateLines())
            {
                if (int.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out var pid) && pid > 0)
                {
                    pids.Add(pid);
                }
            }
        }

        return [.. pids];
    }

    /// <summary>The directory and all below it, as far as they are still there.</summary>
    internal static IEnumerable<string> WithChildren(string directory)
    {
        var left = new Stack<string>([directory]);
        while (left.TryPop(out var next))
        {
            yield return next;
            string[] children;
            try
            {
                children = Libc.HasSubdirectories(next) ? Directory.GetDirectories(next) : [];
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            foreach (var child in children)
            {
                left.Push(child);
            }
        }
    }

    /// <summary>Writes to an existing file in one call. False when the file is not there or the kernel refuses.</summary>
    internal static bool TryWrite(string directory, string name, string value)
    {
        try
        {
            using var file = Fd.Open(Path.Combine(directory, name), Libc.O_WRONLY);
            Fd.WriteAll(file, Encoding.UTF8.GetBytes(value));
            return true;
        }
        catch (NativeException)
        {
            return false;
        }
    }

    private static ulong Number(ReadOnlySpan<char> text) =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0;
}
