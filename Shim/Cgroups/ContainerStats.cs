namespace Shim.Cgroups;

/// <summary>What a container uses, from its cgroup. Limits are 0 where there is none, and so is what this kernel does not count.</summary>
internal sealed record ContainerStats(DateTimeOffset Time, int CgroupVersion, CpuUse Cpu, MemoryUse Memory, PidsUse Pids, BlockIoUse BlockIo);

/// <summary>CPU time in nanoseconds, and how often and how long bandwidth control (the CPU quota) held the container back.</summary>
internal sealed record CpuUse(ulong UsageNs, ulong UserNs, ulong SystemNs, ulong Periods, ulong ThrottledPeriods, ulong ThrottledNs);

/// <summary>Memory, page cache included in the usage; and how many processes the OOM killer has killed.</summary>
internal sealed record MemoryUse(
    ulong UsageBytes, ulong LimitBytes, ulong PeakBytes, ulong AnonymousBytes, ulong FileBytes, ulong SwapBytes, ulong OomKills);

/// <summary>Tasks, which are processes and their threads.</summary>
internal sealed record PidsUse(ulong Current, ulong Limit);

/// <summary>What went to and came from block devices.</summary>
internal sealed record BlockIoUse(ulong ReadBytes, ulong WriteBytes, ulong ReadOperations, ulong WriteOperations);
