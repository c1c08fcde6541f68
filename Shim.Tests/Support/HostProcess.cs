namespace Shim.Tests.Support;

/// <summary>A process of the machine as /proc shows it at one moment.</summary>
/// <param name="Pid">Its pid.</param>
/// <param name="Parent">Its parent's pid.</param>
/// <param name="State">The letter of its state; Z is a zombie.</param>
/// <param name="CommandLine">Arguments joined by spaces; empty for a zombie.</param>
/// <param name="Threads">How many threads it has left; at most one when it is a zombie as a whole.</param>
public sealed record HostProcess(int Pid, int Parent, char State, string CommandLine, int Threads)
{
    /// <summary>
    /// Whether the process exists and is not a zombie. Its first thread may have ended before the others, which still hold what it has open: it is one when
    /// they have ended, too.
    /// </summary>
    public static bool Runs(int pid) => Read(pid) is { } process && (process.State is not ('Z' or 'X') || process.Threads > 1);

    /// <summary>One process, or null when there is none of that pid.</summary>
    public static HostProcess? Read(int pid)
    {
        if (ReadFile(pid, "stat") is not { Length: > 0 } stat)
        {
            return null;
        }

        // pid (name) state ppid ...: the name may hold anything, also a closing parenthesis.
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        var commandLine = ReadFile(pid, "cmdline") ?? string.Empty;
        return new HostProcess(pid, int.Parse(fields[1]), fields[0][0], commandLine.TrimEnd('\0').Replace('\0', ' '), int.Parse(fields[17]));
    }

    /// <summary>All processes of the machine.</summary>
    public static IEnumerable<HostProcess> All() =>
        Directory.EnumerateDirectories("/proc")
            .Select(Path.GetFileName)
            .Where(name => name is { Length: > 0 } && name.All(char.IsAsciiDigit))
            .Select(name => Read(int.Parse(name!)))
            .OfType<HostProcess>();

    /// <summary>The children of a process, zombies included.</summary>
    public static IReadOnlyList<HostProcess> Children(int pid) => [.. All().Where(process => process.Parent == pid)];

    /// <summary>
    /// Processes that have to do with a directory or a cgroup: the text is in their command line, their working directory, their
    /// root directory or their cgroup.
    /// </summary>
    public static IReadOnlyList<HostProcess> Mentioning(string text) =>
        [.. All().Where(process => process.Pid != Environment.ProcessId && process.Mentions(text))];

    /// <summary>A file below /proc/PID, or null when the process has gone.</summary>
    public static string? ReadFile(int pid, string name)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/{name}");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private bool Mentions(string text) =>
        CommandLine.Contains(text, StringComparison.Ordinal)
        || LinkTarget("cwd").Contains(text, StringComparison.Ordinal)
        || LinkTarget("root").Contains(text, StringComparison.Ordinal)
        || ReadFile(Pid, "cgroup")?.Contains(text, StringComparison.Ordinal) == true;

    private string LinkTarget(string name)
    {
        try
        {
            return new FileInfo($"/proc/{Pid}/{name}").LinkTarget ?? string.Empty;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }
}
