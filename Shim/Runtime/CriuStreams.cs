using System.Buffers;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Runtime;

/// <summary>
/// The streams of a container for CRIU. FIFOs and files that the machine has and the container has not are what it cannot dump: it looks for the mount
/// below which they lie among the container's own. So it is told that they are somebody else's, and with the restoration, which descriptor takes the place of each.
/// Pipes and terminals it knows by itself.
/// </summary>
/// <remarks>
/// Runtimes have no option for that. CRIU reads a configuration file on top of what the runtime tells it; which one, an environment variable says.
/// </remarks>
internal static class CriuStreams
{
    /// <summary>Standard input, output and error.</summary>
    internal const int Count = 3;

    private const string Prefix = "file[";

    private static readonly SearchValues<char> s_nameCharacters = SearchValues.Create("0123456789abcdef:");

    /// <summary>CRIU's names for those streams of a process that are not the container's; empty for others.</summary>
    internal static IReadOnlyList<string> NamesOf(int pid)
    {
        // The first field is the number of the mount.
        var mounts = (ProcFs.Read($"/proc/{pid}/mountinfo") ?? "").Split('\n').Select(line => line.Split(' ', 2)[0]).ToHashSet(StringComparer.Ordinal);
        return [.. Enumerable.Range(0, Count).Select(descriptor => NameOf(pid, descriptor, mounts))];
    }

    /// <summary>Whether it is one of <see cref="NamesOf"/>.</summary>
    internal static bool IsName(string name) => name.Length == 0
        || (name.StartsWith(Prefix, StringComparison.Ordinal) && name[^1] == ']' && !name.AsSpan(Prefix.Length..^1).ContainsAnyExcept(s_nameCharacters));

    /// <summary>A configuration for a dump.</summary>
    internal static SafeFileHandle ConfigureDump(IReadOnlyList<string> names) => Write(names.Where(name => name.Length > 0).Select(name => $"external {name}"));

    /// <summary>A configuration for a restoration.</summary>
    /// <param name="names">What the streams were called by the dump. The runtime hands the new ones to CRIU as its own.</param>
    /// <param name="cgroup">The cgroup for the processes, instead of the one in which they were dumped; null where the runtime says that itself.</param>
    internal static SafeFileHandle ConfigureRestoration(IReadOnlyList<string> names, string? cgroup)
    {
        var lines = names.Select((name, descriptor) => name.Length > 0 ? $"inherit-fd fd[{descriptor}]:{name}" : "").Where(line => line.Length > 0);
        return Write(cgroup is null ? lines : lines.Append($"cgroup-root \"{cgroup.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\""));
    }

    private static string NameOf(int pid, int descriptor, HashSet<string> mounts)
    {
        const string MountKey = "mnt_id:";
        var path = $"/proc/{pid}/fd/{descriptor}";
        var mount = (ProcFs.Read($"/proc/{pid}/fdinfo/{descriptor}") ?? "").Split('\n')
            .FirstOrDefault(line => line.StartsWith(MountKey, StringComparison.Ordinal))?[MountKey.Length..].Trim();
        if (mount is null || mounts.Contains(mount) || !int.TryParse(mount, CultureInfo.InvariantCulture, out var number)
            || new FileInfo(path).LinkTarget is not ['/', ..])
        {
            return "";
        }

        try
        {
            var (kind, inode) = Libc.IdentityOf(path);
            return kind is FileKind.Fifo or FileKind.Regular ? string.Create(CultureInfo.InvariantCulture, $"{Prefix}{number:x}:{inode:x}]") : "";
        }
        catch (NativeException)
        {
            // It has closed it just now, or has ended.
            return "";
        }
    }

    private static SafeFileHandle Write(IEnumerable<string> lines)
    {
        var file = Fd.Memory("criu.conf");
        RandomAccess.Write(file, Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n"))), 0);
        return file;
    }
}
