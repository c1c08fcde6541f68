using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Cgroups;

/// <summary>One cgroup per controller, at paths that need not be the same.</summary>
internal sealed class CgroupV1 : Cgroup
{
    private const ulong NanosecondsPerTick = 1_000_000_000 / 100;

    // "No limit" is the largest number of bytes that is a multiple of the page size: any so large is none.
    private const ulong Unlimited = 1UL << 62;

    // Where the processes are looked up, best first. Not in the freezer if it can be helped: ReleaseFrozen takes processes out of there.
    private static readonly string[] s_listing =
        ["pids", "devices", "memory", "cpu", "cpuacct", "blkio", "cpuset", "name=systemd", "freezer"];

    private readonly Dictionary<string, string> _directories;
    private readonly string? _freezerRoot;

    private CgroupV1(string root, string hierarchy, string path, Dictionary<string, string> directories, string? freezerRoot)
        : base(root, hierarchy, path, directories[hierarchy]) => (_directories, _freezerRoot) = (directories, freezerRoot);

    internal override int Version => 1;

    internal override bool IsFrozen => Read("freezer", "freezer.state")?.Trim() is "FROZEN" or "FREEZING";

    /// <summary>Null when none of the process's own cgroups belongs to a v1 hierarchy.</summary>
    internal static CgroupV1? From(string root, CgroupMounts mounts, Dictionary<string, string> own)
    {
        var directories = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (hierarchy, path) in own)
        {
            if (hierarchy != CgroupMounts.Unified && mounts.DirectoryOf(hierarchy, path) is { } directory)
            {
                directories.Add(hierarchy, directory);
            }
        }

        var listing = s_listing.FirstOrDefault(directories.ContainsKey);
        return listing is null ? null : new CgroupV1(root, listing, own[listing], directories, mounts.DirectoryOf("freezer", "/"));
    }

    // Unlike in v2, a kill counts only where its victim was: cgroups that the container has made below its own are added up.
    internal override ulong OomKills() => _directories.TryGetValue("memory", out var directory)
        ? CgroupFile.WithChildren(directory).Aggregate(0UL, (sum, each) => sum + CgroupFile.Value(CgroupFile.Read(each, "memory.oom_control"), "oom_kill"))
        : 0;

    // The kernel signals when the cgroup comes to its limit, a moment before it kills and counts.
    internal override OomSignal? WatchOom()
    {
        if (!_directories.TryGetValue("memory", out var directory))
        {
            return null;
        }

        SafeFileHandle? signal = null;
        try
        {
            signal = Fd.Own(Libc.EventFd(0, Libc.EFD_CLOEXEC | Libc.EFD_NONBLOCK), "eventfd");
            using var control = Fd.Open(Path.Combine(directory, "memory.oom_control"), Libc.O_RDONLY);
            using var registration = Fd.Open(Path.Combine(directory, "cgroup.event_control"), Libc.O_WRONLY);
            Fd.WriteAll(registration, Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Fd.Number(signal)} {Fd.Number(control)}")));
            return new OomSignal(signal, null);
        }
        catch (NativeException)
        {
            // Counts are read at every exit all the same.
            signal?.Dispose();
            return null;
        }
    }

    internal override void Thaw()
    {
        if (_directories.TryGetValue("freezer", out var directory))
        {
            CgroupFile.TryWrite(directory, "freezer.state", "THAWED");
        }
    }

    // A frozen task looks at no signal, not even at SIGKILL, but a task that is moved to a cgroup that isn't frozen thaws alone.
    internal override void ReleaseFrozen(int pid)
    {
        if (_freezerRoot is null || !_directories.TryGetValue("freezer", out var directory))
        {
            return;
        }

        // The parent; above it only if that is frozen too, as a pod's can be. The root can't be.
        do
        {
            directory = Path.GetDirectoryName(directory)!;
        }
        while (directory.Length > _freezerRoot.Length && CgroupFile.Read(directory, "freezer.state")?.Trim() is "FROZEN" or "FREEZING");
        CgroupFile.TryWrite(directory, "cgroup.procs", pid.ToString(CultureInfo.InvariantCulture));
    }

    protected override CpuUse Cpu()
    {
        var (user, system) = CpuModes();
        var bandwidth = Read("cpu", "cpu.stat");
        return new CpuUse(
            Number("cpuacct", "cpuacct.usage"),
            user,
            system,
            CgroupFile.Value(bandwidth, "nr_periods"),
            CgroupFile.Value(bandwidth, "nr_throttled"),
            CgroupFile.Value(bandwidth, "throttled_time"));
    }

    protected override MemoryUse Memory()
    {
        var detail = Read("memory", "memory.stat");
        var limit = Number("memory", "memory.limit_in_bytes");
        return new MemoryUse(
            Number("memory", "memory.usage_in_bytes"),
            limit >= Unlimited ? 0 : limit,
            Number("memory", "memory.max_usage_in_bytes"),
            CgroupFile.Value(detail, "total_rss"),
            CgroupFile.Value(detail, "total_cache"),
            CgroupFile.Value(detail, "total_swap"),
            OomKills());
    }

    protected override PidsUse Pids() => new(Number("pids", "pids.current"), Number("pids", "pids.max"));

    protected override BlockIoUse BlockIo()
    {
        var bytes = Read("blkio", "blkio.throttle.io_service_bytes_recursive") ?? Read("blkio", "blkio.throttle.io_service_bytes");
        var operations = Read("blkio", "blkio.throttle.io_serviced_recursive") ?? Read("blkio", "blkio.throttle.io_serviced");
        return new BlockIoUse(Sum(bytes, "Read"), Sum(bytes, "Write"), Sum(operations, "Read"), Sum(operations, "Write"));
    }

    /// <summary>Adds up lines "major:minor Operation count".</summary>
    private static ulong Sum(string? text, string operation) => (text ?? "").Split('\n')
        .Select(line => line.Split(' '))
        .Where(fields => fields.Length == 3 && fields[1] == operation)
        .Aggregate(0UL, (sum, fields) => sum + (ulong.TryParse(fields[2], CultureInfo.InvariantCulture, out var count) ? count : 0));

    /// <summary>
    /// User and system time in nanoseconds, in steps of a tick. cpuacct.usage_user and cpuacct.usage_sys are finer only by their look: they
    /// give all that was used since the last look to the mode of the moment.
    /// </summary>
    internal (ulong User, ulong System) CpuModes() => Read("cpuacct", "cpuacct.stat") is { } ticks
        ? (CgroupFile.Value(ticks, "user") * NanosecondsPerTick, CgroupFile.Value(ticks, "system") * NanosecondsPerTick)
        : (Number("cpuacct", "cpuacct.usage_user"), Number("cpuacct", "cpuacct.usage_sys"));

    internal override string? Read(string controller, string name) =>
        _directories.TryGetValue(controller, out var directory) ? CgroupFile.Read(directory, name) : null;

    private ulong Number(string controller, string name) =>
        _directories.TryGetValue(controller, out var directory) ? CgroupFile.Number(directory, name) : 0;
}
