namespace Shim.Rootfs;

/// <summary>One mount of a container's root file system.</summary>
/// <param name="Type">A type of file system, bind, or fuse.NAME for one that a program serves.</param>
/// <param name="Source">What is mounted.</param>
/// <param name="Target">Where, below the root file system; empty is itself.</param>
/// <param name="Options">As in fstab, one each.</param>
internal sealed record MountSpec(string Type, string Source, string Target, IReadOnlyList<string> Options);
