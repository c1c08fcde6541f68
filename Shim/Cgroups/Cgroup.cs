using System.Globalization;
using Containerd;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Cgroups;

/// <summary>The cgroup of one container, found by way of its first process. Read only, but for the freezer and the end of all.</summary>
internal abstract class Cgroup
{
    private const int MaxKillRounds = 10;

    private readonly string _root;
    private readonly string _hierarchy;
    private readonly string _path;

    /// <param name="root">Put before every path; empty on a real machine.</param>
    /// <param name="hierarchy">The hierarchy whose cgroup says which processes belong to the container.</param>
    /// <param name="path">The container's cgroup in it.</param>
    /// <param name="directory">The directory of that cgroup.</param>
    protected Cgroup(string root, string hierarchy, string path, string directory) =>
        (_root, _hierarchy, _path, Directory) = (root, hierarchy, path, directory);

    /// <summary>1 or 2.</summary>
    internal abstract int Version { get; }

    /// <summary>Whether the freezer holds its processes, or is about to.</summary>
    internal abstract bool IsFrozen { get; }

    /// <summary>The directory whose cgroup.procs (with those below) lists the container's processes.</summary>
    protected string Directory { get; }

    /// <summary>
    /// The cgroup of the container whose process <paramref name="pid"/> is. Null when that process has gone, or has no cgroup of its
    /// own: it sits in the root everywhere, or where this process itself sits.
    /// </summary>
    internal static Cgroup? Of(int pid) => Of(pid, "");

    /// <summary>The same for a machine whose /proc and /sys lie below <paramref name="root"/>.</summary>
    internal static Cgroup? Of(int pid, string root)
    {
        var mounts = CgroupMounts.Read(root);
        var paths = CgroupMounts.PathsOf(root, pid.ToString(CultureInfo.InvariantCulture));
        var ours = CgroupMounts.PathsOf(root, "self");
        var own = paths
            .Where(entry => entry.Value != "/" && !(ours.TryGetValue(entry.Key, out var here) && here == entry.Value))
            .ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);

        // Hybrid: v2 is mounted, but the controllers are v1's, and the runtime uses those.
        return (Cgroup?)CgroupV1.From(root, mounts, own) ?? CgroupV2.From(root, mounts, own);
    }

    /// <summary>Host pids of all processes in it and in cgroups below it; empty when it is gone.</summary>
    internal IReadOnlyList<int> Processes() => CgroupFile.Processes(Directory);

    /// <summary>Whether the process is in it or in a cgroup below it now.</summary>
    internal bool Contains(int pid) =>
        CgroupMounts.PathsOf(_root, pid.ToString(CultureInfo.InvariantCulture)).TryGetValue(_hierarchy, out var path)
        && (path == _path || path.StartsWith(_path + "/", StringComparison.Ordinal));

    /// <summary>Kills everything in it, again and again until nothing new has been forked meanwhile. Frozen processes are thawed: otherwise they do not even die.</summary>
    internal void KillAll()
    {
        for (var round = 0; round < MaxKillRounds; round++)
        {
            var killed = 0;
            foreach (var pid in Processes())
            {
                // Opened first, then looked at: from there on the number cannot become another process's.
                using var process = PidFd.TryOpen(pid);
                killed += process is not null && Contains(pid) && process.Signal(Libc.SIGKILL) ? 1 : 0;
            }

            Thaw();
            if (killed == 0)
            {
                return;
            }
        }
    }

    /// <summary>What the container uses. Throws Precondition when the cgroup is gone.</summary>
    internal ContainerStats Stats()
    {
        var stats = new ContainerStats(DateTimeOffset.UtcNow, Version, Cpu(), Memory(), Pids(), BlockIo());
        EnsureThere();
        return stats;
    }

    /// <summary>Throws Precondition when the cgroup is gone. To be asked after reading: what vanished meanwhile would look like zeros.</summary>
    internal void EnsureThere()
    {
        if (!System.IO.Directory.Exists(Directory))
        {
            throw TaskException.Precondition($"cannot read the use of a container: its cgroup {_path} is gone");
        }
    }

    /// <summary>A file of the cgroup as it stands; null when it is not there. On v2 all controllers share one directory.</summary>
    internal abstract string? Read(string controller, string name);

    /// <summary>The sizes of huge pages that this machine has, as the names of the hugetlb controller's files spell them: "2MB".</summary>
    internal IReadOnlyList<string> HugePageSizes() => HugePages.Sizes(_root);

    /// <summary>The paths of the block devices below /dev, by their numbers.</summary>
    internal IReadOnlyDictionary<(ulong Major, ulong Minor), string> BlockDevices() => Cgroups.BlockDevices.Read(_root);

    /// <summary>How many processes of the container the OOM killer has killed; 0 when that cannot be read.</summary>
    internal abstract ulong OomKills();

    /// <summary>What tells of an OOM kill when it happens. Null where there is no memory controller, or it cannot be watched.</summary>
    internal abstract OomSignal? WatchOom();

    /// <summary>The container's cgroup, as the kernel writes it.</summary>
    internal string Name => _path;

    /// <summary>Lets all processes run again, whoever froze them. Nothing happens when there is no freezer.</summary>
    internal abstract void Thaw();

    /// <summary>Makes a SIGKILL that was sent already end one frozen process, while all others stay frozen.</summary>
    internal abstract void ReleaseFrozen(int pid);

    protected abstract CpuUse Cpu();

    protected abstract MemoryUse Memory();

    protected abstract PidsUse Pids();

    protected abstract BlockIoUse BlockIo();
}
