using System.Globalization;

namespace Shim.Tests.Support;

/// <summary>What a process costs, as the kernel counts it.</summary>
public static class ProcessCost
{
    /// <summary>How many descriptors it has open.</summary>
    public static int Descriptors(int pid) => Directory.GetFileSystemEntries($"/proc/{pid}/fd").Length;

    /// <summary>How many threads it has.</summary>
    public static int Threads(int pid) => Directory.GetDirectories($"/proc/{pid}/task").Length;

    /// <summary>How long it has been running on a processor, with all of its threads that are alive.</summary>
    public static TimeSpan Cpu(int pid)
    {
        // The first number of schedstat is in nanoseconds; /proc/PID/stat knows hundredths of a second only.
        return TimeSpan.FromMicroseconds(Directory.GetDirectories($"/proc/{pid}/task").Sum(Nanoseconds) / 1000.0);
    }

    // 0 for a thread that has ended since it was listed.
    private static long Nanoseconds(string task)
    {
        try
        {
            return long.Parse(File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ')[0], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    /// <summary>Memory of its own, in bytes: what is not backed by a file.</summary>
    public static long Memory(int pid) => 1024 * long.Parse(
        File.ReadLines($"/proc/{pid}/status").First(line => line.StartsWith("RssAnon:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2],
        CultureInfo.InvariantCulture);

    /// <summary>Memory that it alone has written to, in bytes: what one more of its kind costs the machine.</summary>
    public static long PrivateDirty(int pid) => 1024 * long.Parse(
        File.ReadLines($"/proc/{pid}/smaps_rollup").First(line => line.StartsWith("Private_Dirty:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2],
        CultureInfo.InvariantCulture);
}
