using Shim.Interop;
using Shim.Processes;

namespace Shim.Cgroups;

/// <summary>
/// The directories that a runtime makes for a container's cgroup. One that is killed in the middle of a creation leaves them behind, and no state
/// of its own that leads back to them. So they are worked out before the creation, when it can still be seen that they are not somebody else's.
/// </summary>
internal static class CgroupFootprint
{
    private const int MaxKillRounds = 10;

    // A killed process leaves its cgroup a moment later.
    private static readonly TimeSpan s_emptyLimit = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(10);

    /// <summary>
    /// What the creation of a container will make; nothing when any of it is there already, because then it is not ours to remove.
    /// </summary>
    /// <param name="id">The container's id, which names its cgroup when the config does not.</param>
    /// <param name="cgroupsPath">linux.cgroupsPath of config.json.</param>
    /// <param name="root">Put before every path; empty on a real machine.</param>
    internal static IReadOnlyList<string> Plan(string id, string? cgroupsPath, string root = "")
    {
        var mounts = CgroupMounts.Read(root);
        var own = CgroupMounts.PathsOf(root, "self");
        var directories = mounts.Hierarchies
            .Select(hierarchy => PathIn(hierarchy, id, cgroupsPath, own) is { } path ? mounts.DirectoryOf(hierarchy, path) : null)
            .OfType<string>().Distinct(StringComparer.Ordinal).ToList();
        return directories.Exists(Directory.Exists) ? [] : directories;
    }

    /// <summary>
    /// The path at which runtimes put a container's cgroup, where v2 is all there is; null elsewhere, and where it cannot be known.
    /// </summary>
    /// <param name="id">The container's id.</param>
    /// <param name="cgroupsPath">linux.cgroupsPath of config.json.</param>
    /// <param name="systemd">The runtime has systemd make it, and the config names a unit: slice:prefix:name.</param>
    /// <param name="root">Put before every path; empty on a real machine.</param>
    internal static string? UnifiedPathOf(string id, string? cgroupsPath, bool systemd, string root = "")
    {
        var mounts = CgroupMounts.Read(root);
        return !mounts.Has(CgroupMounts.Unified) || mounts.Hierarchies.Any(hierarchy => hierarchy.Length > 0 && !hierarchy.StartsWith("name=", StringComparison.Ordinal)) ? null
            : systemd ? UnitPath(id, cgroupsPath)
            : PathIn(CgroupMounts.Unified, id, cgroupsPath, CgroupMounts.PathsOf(root, "self"));
    }

    /// <summary>Kills every process in the directories, frozen or not.</summary>
    internal static void Kill(IReadOnlyList<string> directories)
    {
        foreach (var directory in directories.Where(Directory.Exists))
        {
            for (var round = 0; round < MaxKillRounds && KillOnce(directory) > 0; round++)
            {
                // Whatever was forked meanwhile comes next.
            }
        }
    }

    /// <summary>Removes the directories with all below them, and the processes in them. Returns what could not be removed.</summary>
    internal static async Task<IReadOnlyList<string>> RemoveAsync(IReadOnlyList<string> directories, TimeProvider clock)
    {
        for (var end = Environment.TickCount64 + (long)s_emptyLimit.TotalMilliseconds; ; await Task.Delay(s_retry, clock, CancellationToken.None).ConfigureAwait(false))
        {
            Kill(directories);
            foreach (var directory in directories.Where(Directory.Exists).SelectMany(CgroupFile.WithChildren).OrderByDescending(path => path.Length).ToList())
            {
                try
                {
                    Directory.Delete(directory);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // Gone meanwhile, or not empty yet.
                }
            }

            var left = directories.Where(Directory.Exists).ToList();
            if (left.Count == 0 || Environment.TickCount64 > end)
            {
                return left;
            }
        }
    }

    private static int KillOnce(string directory)
    {
        var killed = 0;
        foreach (var pid in CgroupFile.Processes(directory))
        {
            // Opened first and looked up again then: from there on the number cannot become another process's.
            using var process = PidFd.TryOpen(pid);
            killed += process is { HasExited: false } && CgroupFile.Processes(directory).Contains(pid) && process.Signal(Libc.SIGKILL) ? 1 : 0;
        }

        // A frozen process does not even die.
        _ = CgroupFile.TryWrite(directory, "freezer.state", "THAWED");
        _ = CgroupFile.TryWrite(directory, "cgroup.freeze", "0");
        return killed;
    }

    /// <summary>Where systemd puts a unit: slice a-b.slice lies in a.slice, and - in the root.</summary>
    private static string? UnitPath(string id, string? cgroupsPath)
    {
        const string Slice = ".slice";
        var (slice, prefix, name) = string.IsNullOrEmpty(cgroupsPath) ? ("", "runc", id)
            : cgroupsPath.Split(':') is [var first, var second, var third] ? (first, second, third) : (null, "", "");
        if (slice is null)
        {
            return null;
        }

        slice = slice.Length == 0 ? "system.slice" : slice;
        var parts = slice == "-.slice" || !slice.EndsWith(Slice, StringComparison.Ordinal) ? [] : slice[..^Slice.Length].Split('-');
        var above = string.Concat(parts.Select((_, index) => $"/{string.Join('-', parts[..(index + 1)])}{Slice}"));
        var unit = name.EndsWith(Slice, StringComparison.Ordinal) ? name : prefix.Length > 0 ? $"{prefix}-{name}.scope" : $"{name}.scope";
        return $"{above}/{unit}";
    }

    /// <summary>Where runtimes put a cgroup: an absolute path as it is, any other beside (v2) or below (v1) the one that they run in themselves.</summary>
    private static string? PathIn(string hierarchy, string id, string? cgroupsPath, Dictionary<string, string> own)
    {
        var path = Path.GetFullPath("/" + (string.IsNullOrEmpty(cgroupsPath) ? id : cgroupsPath));
        if (cgroupsPath is { Length: > 0 } && cgroupsPath[0] == '/')
        {
            return path;
        }

        if (!own.TryGetValue(hierarchy, out var here))
        {
            return null;
        }

        var above = hierarchy == CgroupMounts.Unified ? Path.GetDirectoryName(here) ?? "/" : here;
        return above == "/" ? path : above + path;
    }
}
