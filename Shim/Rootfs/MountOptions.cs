using Containerd;
using Shim.Interop;

namespace Shim.Rootfs;

/// <summary>The options of a mount, taken apart: flags of the kernel, how the mount passes on, and data for the file system.</summary>
/// <param name="Flags">MS_ flags of mount(2).</param>
/// <param name="Propagation">shared, private and so on; 0 leaves it.</param>
/// <param name="Data">What the file system itself understands.</param>
/// <param name="Loop">The source is a file that a loop device shows.</param>
internal sealed record MountOptions(ulong Flags, ulong Propagation, IReadOnlyList<string> Data, bool Loop)
{
    private static readonly Dictionary<string, (ulong Set, ulong Clear)> s_flags = new(StringComparer.Ordinal)
    {
        ["async"] = (0, Libc.MS_SYNCHRONOUS),
        ["atime"] = (0, Libc.MS_NOATIME),
        ["bind"] = (Libc.MS_BIND, 0),
        ["defaults"] = (0, 0),
        ["dev"] = (0, Libc.MS_NODEV),
        ["diratime"] = (0, Libc.MS_NODIRATIME),
        ["dirsync"] = (Libc.MS_DIRSYNC, 0),
        ["exec"] = (0, Libc.MS_NOEXEC),
        ["mand"] = (Libc.MS_MANDLOCK, 0),
        ["noatime"] = (Libc.MS_NOATIME, 0),
        ["nodev"] = (Libc.MS_NODEV, 0),
        ["nodiratime"] = (Libc.MS_NODIRATIME, 0),
        ["noexec"] = (Libc.MS_NOEXEC, 0),
        ["nomand"] = (0, Libc.MS_MANDLOCK),
        ["norelatime"] = (0, Libc.MS_RELATIME),
        ["nostrictatime"] = (0, Libc.MS_STRICTATIME),
        ["nosuid"] = (Libc.MS_NOSUID, 0),
        ["rbind"] = (Libc.MS_BIND | Libc.MS_REC, 0),
        ["relatime"] = (Libc.MS_RELATIME, 0),
        ["remount"] = (Libc.MS_REMOUNT, 0),
        ["ro"] = (Libc.MS_RDONLY, 0),
        ["rw"] = (0, Libc.MS_RDONLY),
        ["strictatime"] = (Libc.MS_STRICTATIME, 0),
        ["suid"] = (0, Libc.MS_NOSUID),
        ["sync"] = (Libc.MS_SYNCHRONOUS, 0),
    };

    private static readonly Dictionary<string, ulong> s_propagation = new(StringComparer.Ordinal)
    {
        ["private"] = Libc.MS_PRIVATE,
        ["rprivate"] = Libc.MS_PRIVATE | Libc.MS_REC,
        ["shared"] = Libc.MS_SHARED,
        ["rshared"] = Libc.MS_SHARED | Libc.MS_REC,
        ["slave"] = Libc.MS_SLAVE,
        ["rslave"] = Libc.MS_SLAVE | Libc.MS_REC,
        ["unbindable"] = Libc.MS_UNBINDABLE,
        ["runbindable"] = Libc.MS_UNBINDABLE | Libc.MS_REC,
    };

    /// <summary>Takes the options apart. FailedPrecondition for mapped ids, which need more than mount(2).</summary>
    internal static MountOptions Parse(IReadOnlyList<string> options)
    {
        ulong flags = 0, propagation = 0;
        var data = new List<string>();
        var loop = false;
        foreach (var option in options)
        {
            if (s_flags.TryGetValue(option, out var flag))
            {
                flags = (flags | flag.Set) & ~flag.Clear;
            }
            else if (s_propagation.TryGetValue(option, out var way))
            {
                propagation |= way;
            }
            else if (option == "loop")
            {
                loop = true;
            }
            else if (option.StartsWith("uidmap=", StringComparison.Ordinal) || option.StartsWith("gidmap=", StringComparison.Ordinal))
            {
                throw TaskException.Precondition($"cannot mount with \"{option}\": mounts with mapped ids are not supported");
            }
            else if (!option.StartsWith("X-containerd.", StringComparison.Ordinal))
            {
                // Notes between containerd's parts begin with that; all else is the file system's.
                data.Add(option);
            }
        }

        return new MountOptions(flags, propagation, data, loop);
    }
}
