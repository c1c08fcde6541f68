using System.Globalization;
using System.Text;
using Shim.Interop;

namespace Shim.Processes;

/// <summary>What /proc tells of a process that we may not have started. Every answer can be outdated by the time it is read.</summary>
internal static class ProcFs
{
    /// <summary>
    /// When the process started, in clock ticks since boot: with the pid it identifies a process across our own restarts.
    /// Null when there is no such process.
    /// </summary>
    internal static ulong? StartTime(int pid)
    {
        var fields = StatFields(pid);
        // Fields are counted from 1 in proc(5); what follows the name starts with field 3, and starttime is field 22.
        return fields is { Length: > 19 } && ulong.TryParse(fields[19], CultureInfo.InvariantCulture, out var ticks) ? ticks : null;
    }

    /// <summary>The state letter of proc(5) ('Z' zombie, 'T' stopped ...), or null when there is no such process.</summary>
    internal static char? State(int pid) => StatFields(pid) is { Length: > 0 } fields && fields[0].Length > 0 ? fields[0][0] : null;

    /// <summary>The wait status of a process that has ended and was not collected yet; null for any other, and for who may not know.</summary>
    internal static int? ZombieStatus(int pid) =>
        StatFields(pid) is { Length: > 49 } fields && fields[0] == "Z" && int.TryParse(fields[49], CultureInfo.InvariantCulture, out var status) ? status : null;

    /// <summary>
    /// Whether the process was forked and runs its parent's program still (PF_FORKNOEXEC of the kernel's flags, which fork sets and execve
    /// clears). False when there is no such process.
    /// </summary>
    internal static bool AwaitsExec(int pid)
    {
        const uint PF_FORKNOEXEC = 0x40;
        return StatFields(pid) is { Length: > 6 } fields && uint.TryParse(fields[6], CultureInfo.InvariantCulture, out var flags)
            && (flags & PF_FORKNOEXEC) != 0;
    }

    /// <summary>Whether the process is on its way out, or out (PF_EXITING, which the kernel sets before it closes descriptors).</summary>
    internal static bool IsExiting(int pid)
    {
        const uint PF_EXITING = 0x4;
        return StatFields(pid) is not { Length: > 6 } fields || !uint.TryParse(fields[6], CultureInfo.InvariantCulture, out var flags) || (flags & PF_EXITING) != 0;
    }

    /// <summary>The parent's pid, or null when there is no such process.</summary>
    internal static int? Parent(int pid) =>
        StatFields(pid) is { Length: > 1 } fields && int.TryParse(fields[1], CultureInfo.InvariantCulture, out var parent) ? parent : null;

    /// <summary>argv, or the name in brackets for a process without one (kernel threads, zombies).</summary>
    internal static string[] Arguments(int pid)
    {
        var arguments = NulSeparated($"/proc/{pid}/cmdline");
        return arguments.Length > 0 ? arguments : Read($"/proc/{pid}/comm") is { } name ? [$"[{name.TrimEnd('\n')}]"] : [];
    }

    /// <summary>The environment that the process was started with.</summary>
    internal static string[] Environment(int pid) => NulSeparated($"/proc/{pid}/environ");

    /// <summary>The working directory, as the process sees it when its root is the container's.</summary>
    internal static string WorkingDirectory(int pid)
    {
        var directory = Link($"/proc/{pid}/cwd") ?? "";
        var root = Link($"/proc/{pid}/root") ?? "/";
        return root.Length == 1 ? directory
            : directory == root ? "/"
            : directory.StartsWith(root + "/", StringComparison.Ordinal) ? directory[root.Length..]
            : directory;
    }

    /// <summary>Effective uid and gid and the supplementary groups, or null when there is no such process.</summary>
    internal static (uint Uid, uint Gid, uint[] Groups)? Credentials(int pid)
    {
        uint? uid = null;
        uint? gid = null;
        uint[] groups = [];
        foreach (var line in Read($"/proc/{pid}/status")?.Split('\n') ?? [])
        {
            if (line.StartsWith("Uid:", StringComparison.Ordinal))
            {
                uid = Number(line, 2);
            }
            else if (line.StartsWith("Gid:", StringComparison.Ordinal))
            {
                gid = Number(line, 2);
            }
            else if (line.StartsWith("Groups:", StringComparison.Ordinal))
            {
                groups = [.. line[7..].Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                    .Select(text => uint.Parse(text, CultureInfo.InvariantCulture))];
            }
        }

        return uid is not null && gid is not null ? (uid.Value, gid.Value, groups) : null;

        static uint? Number(string line, int column) =>
            line.Split('\t') is { } parts && parts.Length > column && uint.TryParse(parts[column], CultureInfo.InvariantCulture, out var value) ? value : null;
    }

    /// <summary>Whether the process's controlling terminal exists (tty_nr of proc(5) is not 0).</summary>
    internal static bool HasTerminal(int pid) => StatFields(pid) is { Length: > 4 } fields && fields[4] != "0";

    /// <summary>A namespace of the process as the kernel names it ("pid:[4026531836]"), or null.</summary>
    internal static string? Namespace(int pid, string kind) => Link($"/proc/{pid}/ns/{kind}");

    /// <summary>A whole small file of /proc, or null when it (or its process) is not there.</summary>
    internal static string? Read(string path) => Fd.ReadText(path);

    private static string[]? StatFields(int pid)
    {
        var stat = Read($"/proc/{pid}/stat");
        // The name is in parentheses and may itself contain parentheses and spaces: the last one ends it.
        var end = stat?.LastIndexOf(')') ?? -1;
        return end < 0 ? null : stat![(end + 2)..].Split(' ');
    }

    private static string[] NulSeparated(string path) =>
        Read(path) is { Length: > 0 } text ? (text[^1] == '\0' ? text[..^1] : text).Split('\0') : [];

    private static string? Link(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The kernel writes blanks, tabs, line feeds and backslashes in mountinfo as three octal digits.</summary>
    internal static string UnescapeMountPoint(string field)
    {
        if (!field.Contains('\\'))
        {
            return field;
        }

        var text = new StringBuilder();
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length && field.AsSpan(i + 1, 3).IndexOfAnyExceptInRange('0', '7') < 0)
            {
                text.Append((char)(((field[i + 1] - '0') * 64) + ((field[i + 2] - '0') * 8) + (field[i + 3] - '0')));
                i += 3;
            }
            else
            {
                text.Append(field[i]);
            }
        }

        return text.ToString();
    }
}
