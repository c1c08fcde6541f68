using System.Globalization;

namespace Shim.Cgroups;

/// <summary>One cgroup for all controllers.</summary>
internal sealed class CgroupV2 : Cgroup
{
    private CgroupV2(string root, string path, string directory)
        : base(root, CgroupMounts.Unified, path, directory)
    {
    }

    internal override int Version => 2;

    // cgroup.freeze is what is wanted of this cgroup, cgroup.events what is true of it, because of one above it too.
    internal override bool IsFrozen =>
        CgroupFile.Number(Directory, "cgroup.freeze") == 1 || CgroupFile.Value(CgroupFile.Read(Directory, "cgroup.events"), "frozen") == 1;

    /// <summary>Null when the process has no cgroup of its own in the v2 hierarchy.</summary>
    internal static CgroupV2? From(string root, CgroupMounts mounts, Dictionary<string, string> own) =>
        own.TryGetValue(CgroupMounts.Unified, out var path) && mounts.DirectoryOf(CgroupMounts.Unified, path) is { } directory
            ? new CgroupV2(root, path, directory)
            : null;

    internal override ulong OomKills() => CgroupFile.Value(CgroupFile.Read(Directory, "memory.events"), "oom_kill");

    internal override OomSignal? WatchOom() =>
        Path.Combine(Directory, "memory.events") is var events && File.Exists(events) ? new OomSignal(null, events) : null;

    internal override void Thaw() => CgroupFile.TryWrite(Directory, "cgroup.freeze", "0");

    // The v2 freezer lets SIGKILL through by itself.
    internal override void ReleaseFrozen(int pid)
    {
    }

    internal override string? Read(string controller, string name) => CgroupFile.Read(Directory, name);

    protected override CpuUse Cpu()
    {
        var stat = CgroupFile.Read(Directory, "cpu.stat");
        return new CpuUse(
            CgroupFile.Value(stat, "usage_usec") * 1000,
            CgroupFile.Value(stat, "user_usec") * 1000,
            CgroupFile.Value(stat, "system_usec") * 1000,
            CgroupFile.Value(stat, "nr_periods"),
            CgroupFile.Value(stat, "nr_throttled"),
            CgroupFile.Value(stat, "throttled_usec") * 1000);
    }

    protected override MemoryUse Memory()
    {
        var stat = CgroupFile.Read(Directory, "memory.stat");
        return new MemoryUse(
            CgroupFile.Number(Directory, "memory.current"),
            CgroupFile.Number(Directory, "memory.max"),
            CgroupFile.Number(Directory, "memory.peak"),
            CgroupFile.Value(stat, "anon"),
            CgroupFile.Value(stat, "file"),
            CgroupFile.Number(Directory, "memory.swap.current"),
            OomKills());
    }

    protected override PidsUse Pids() => new(CgroupFile.Number(Directory, "pids.current"), CgroupFile.Number(Directory, "pids.max"));

    protected override BlockIoUse BlockIo()
    {
        var stat = CgroupFile.Read(Directory, "io.stat");
        return new BlockIoUse(Sum(stat, "rbytes="), Sum(stat, "wbytes="), Sum(stat, "rios="), Sum(stat, "wios="));
    }

    /// <summary>Adds up what follows <paramref name="key"/> over lines "major:minor rbytes=1 wbytes=2 ...".</summary>
    private static ulong Sum(string? text, string key) => (text ?? "").Split([' ', '\n'])
        .Where(field => field.StartsWith(key, StringComparison.Ordinal))
        .Aggregate(0UL, (sum, field) => sum + (ulong.TryParse(field.AsSpan(key.Length), CultureInfo.InvariantCulture, out var count) ? count : 0));
}
