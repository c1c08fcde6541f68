namespace Shim.Tests.Support;

/// <summary>Finds what a supervisor, its shims and their containers have left behind, and removes it.</summary>
public static class Leaks
{
    /// <summary>
    /// One line for each process, mount and cgroup that has to do with a directory or with cgroups of a prefix.
    /// </summary>
    /// <param name="directory">Where the processes in question work; a path that nothing else contains.</param>
    /// <param name="cgroupPrefix">What the names of their cgroups begin with.</param>
    /// <param name="expected">Processes that are meant to run.</param>
    public static IReadOnlyList<string> Find(string directory, string cgroupPrefix, params int[] expected)
    {
        var processes = HostProcess.Mentioning(directory).Concat(HostProcess.Mentioning($"/{cgroupPrefix}-"))
            .Where(process => !expected.Contains(process.Pid))
            .DistinctBy(process => process.Pid)
            .Select(process => $"process {process.Pid} of {process.Parent}, state {process.State}: {process.CommandLine}");
        return [.. processes, .. Mounts(directory).Select(path => $"mount {path}"), .. Cgroups(cgroupPrefix).Select(path => $"cgroup {path}")];
    }

    /// <summary>Kills, unmounts and removes what <see cref="Find"/> finds, so that one failure does not spoil the next test.</summary>
    public static void Sweep(string directory, string cgroupPrefix, params int[] expected)
    {
        foreach (var process in HostProcess.Mentioning(directory).Concat(HostProcess.Mentioning($"/{cgroupPrefix}-"))
            .Where(process => !expected.Contains(process.Pid)))
        {
            _ = Mono.Unix.Native.Syscall.kill(process.Pid, Mono.Unix.Native.Signum.SIGKILL);
        }

        foreach (var path in Mounts(directory).Reverse())
        {
            using var unmount = System.Diagnostics.Process.Start("umount", ["-l", path]);
            unmount.WaitForExit();
        }

        foreach (var path in Cgroups(cgroupPrefix))
        {
            // A killed process leaves its cgroup a moment later.
            for (var attempt = 0; attempt < 50 && Directory.Exists(path) && Mono.Unix.Native.Syscall.rmdir(path) != 0; attempt++)
            {
                Thread.Sleep(10);
            }
        }
    }

    private static IEnumerable<string> Mounts(string directory) =>
        File.ReadAllLines("/proc/self/mountinfo")
            .Select(line => line.Split(' ')[4])
            .Where(path => path.StartsWith(directory + "/", StringComparison.Ordinal));

    private static IEnumerable<string> Cgroups(string prefix)
    {
        var roots = Machine.CgroupV1 ? Directory.GetDirectories("/sys/fs/cgroup") : ["/sys/fs/cgroup"];
        return roots.SelectMany(root => Directory.GetDirectories(root, $"{prefix}-*"));
    }
}
