using System.Globalization;
using Shim.Processes;

namespace Shim.Cgroups;

/// <summary>Where each cgroup hierarchy is mounted (/proc/self/mountinfo) and in which cgroup of it a process is (/proc/PID/cgroup).</summary>
internal sealed class CgroupMounts
{
    /// <summary>The key under which the v2 hierarchy goes; v1 ones go by controller ("memory") or name ("name=systemd").</summary>
    internal const string Unified = "";

    private const string DeletedSuffix = " (deleted)";

    private readonly string _root;
    private readonly Dictionary<string, Mount> _mounts = new(StringComparer.Ordinal);

    private CgroupMounts(string root) => _root = root;

    /// <summary>Reads the mounts that this process sees.</summary>
    /// <param name="root">Put before every path; empty on a real machine.</param>
    internal static CgroupMounts Read(string root)
    {
        var mounts = new CgroupMounts(root);
        foreach (var line in (ProcFs.Read($"{root}/proc/self/mountinfo") ?? "").Split('\n'))
        {
            mounts.Add(line);
        }

        return mounts;
    }

    /// <summary>
    /// The cgroup of a process in every hierarchy, by controller, name or <see cref="Unified"/>; empty when the process has gone.
    /// </summary>
    /// <param name="root">Put before every path; empty on a real machine.</param>
    /// <param name="pid">A number, or "self".</param>
    internal static Dictionary<string, string> PathsOf(string root, string pid)
    {
        var paths = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in (ProcFs.Read($"{root}/proc/{pid}/cgroup") ?? "").Split('\n'))
        {
            // number:controllers:path, and the path may contain colons itself (systemd's slice:prefix:name).
            if (line.Split(':', 3) is [_, var controllers, var path])
            {
                // A zombie can outlive its cgroup; the name is still the one it had.
                var cgroup = path.EndsWith(DeletedSuffix, StringComparison.Ordinal) ? path[..^DeletedSuffix.Length] : path;
                foreach (var controller in controllers.Split(','))
                {
                    paths[controller] = cgroup;
                }
            }
        }

        return paths;
    }

    /// <summary>Moves a process into <paramref name="cgroup"/> in every hierarchy that has it. False when none has.</summary>
    internal bool Enter(string cgroup, int pid)
    {
        var entered = false;
        foreach (var directory in _mounts.Keys.Select(hierarchy => DirectoryOf(hierarchy, cgroup)).OfType<string>().Distinct())
        {
            if (Directory.Exists(directory))
            {
                File.WriteAllText(Path.Combine(directory, "cgroup.procs"), pid.ToString(CultureInfo.InvariantCulture));
                entered = true;
            }
        }

        return entered;
    }

    /// <summary>All that are mounted; some under several names.</summary>
    internal IEnumerable<string> Hierarchies => _mounts.Keys;

    /// <summary>Whether the hierarchy is mounted at all.</summary>
    internal bool Has(string hierarchy) => _mounts.ContainsKey(hierarchy);

    /// <summary>The directory of a cgroup, or null when the hierarchy or this part of it is not mounted where we could see it.</summary>
    internal string? DirectoryOf(string hierarchy, string cgroup)
    {
        // "/.." is how the kernel names what lies outside our cgroup namespace.
        if (!_mounts.TryGetValue(hierarchy, out var mount) || cgroup.StartsWith("/..", StringComparison.Ordinal))
        {
            return null;
        }

        // Only a part of the hierarchy may be mounted, as in a container without a cgroup namespace.
        if (mount.Root != "/")
        {
            if (cgroup != mount.Root && !cgroup.StartsWith(mount.Root + "/", StringComparison.Ordinal))
            {
                return null;
            }

            cgroup = cgroup[mount.Root.Length..];
        }

        return _root + mount.Point + (cgroup is "/" ? "" : cgroup);
    }

    private void Add(string line)
    {
        // id parent major:minor root point options [tags] - type source options (proc(5))
        var fields = line.Split(' ');
        var separator = Array.IndexOf(fields, "-");
        if (separator < 6 || fields.Length < separator + 4)
        {
            return;
        }

        var mount = new Mount(ProcFs.UnescapeMountPoint(fields[3]), ProcFs.UnescapeMountPoint(fields[4]));
        if (fields[separator + 1] == "cgroup2")
        {
            Add(Unified, mount);
        }
        else if (fields[separator + 1] == "cgroup")
        {
            foreach (var option in fields[separator + 3].Split(','))
            {
                Add(option, mount);
            }
        }
    }

    private void Add(string hierarchy, Mount mount)
    {
        // A hierarchy can be mounted several times; one that shows all of it is best.
        if (!_mounts.TryGetValue(hierarchy, out var known) || (known.Root != "/" && mount.Root == "/"))
        {
            _mounts[hierarchy] = mount;
        }
    }

    private sealed record Mount(string Root, string Point);
}
