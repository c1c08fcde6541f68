using Microsoft.Win32.SafeHandles;

namespace Shim.Cgroups;

/// <summary>What tells that a cgroup may have run out of memory; <see cref="Cgroup.OomKills"/> says whether it has. One of the two is there.</summary>
/// <param name="Event">An eventfd that the kernel signals (v1). The receiver owns it.</param>
/// <param name="File">A file that changes (v2), for inotify.</param>
internal sealed record OomSignal(SafeFileHandle? Event, string? File);
