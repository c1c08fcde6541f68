using System.Globalization;

namespace Shim.Cgroups;

/// <summary>The block devices that the kernel lists.</summary>
internal static class BlockDevices
{
    /// <summary>Paths below /dev by the devices' numbers; empty when they cannot be read.</summary>
    /// <param name="root">Put before the path; empty on a real machine.</param>
    internal static IReadOnlyDictionary<(ulong Major, ulong Minor), string> Read(string root)
    {
        var devices = new Dictionary<(ulong, ulong), string>();
        foreach (var line in (CgroupFile.Read(root + "/proc", "partitions") ?? "").Split('\n'))
        {
            // The heading has words where the numbers are.
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length == 4
                && ulong.TryParse(fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major)
                && ulong.TryParse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out var minor))
            {
                devices.TryAdd((major, minor), "/dev/" + fields[3]);
            }
        }

        return devices;
    }
}
