using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Supervisor.Cli.Bundles;

/// <summary>
/// Resolves USER[:GROUP] as the container's own /etc/passwd and /etc/group know them. The container may have written those files and
/// every link on the way: they are opened as if its root directory were ours, and read up to a limit.
/// </summary>
internal sealed class UserLookup(string passwd, string group)
{
    private const int LargestFile = 4 * 1024 * 1024;

    /// <summary>The user databases under <paramref name="root"/>: a root directory, or /proc/PID/root.</summary>
    internal static UserLookup Under(string root)
    {
        using var directory = Fd.Open(root, Libc.O_RDONLY | Libc.O_DIRECTORY);
        return new UserLookup(Read(directory, "etc/passwd"), Read(directory, "etc/group"));
    }

    /// <summary>
    /// Names must exist; numbers are taken as they are. Without a group it is the user's own, with the supplementary groups that list
    /// the user; with one it is that group alone.
    /// </summary>
    internal ContainerUser Resolve(string text)
    {
        var (userText, groupText) = text.Split(':', 2) is [var first, var second] ? (first, second) : (text, null);
        var entry = Rows(passwd, 4).FirstOrDefault(row => row[0] == userText || row[2] == userText);
        uint uid;
        if (Number(userText) is { } number)
        {
            uid = number;
        }
        else
        {
            uid = Number(entry?[2] ?? "") ?? throw new CliException($"no user {userText} in the container's /etc/passwd", "numbers always work: --user 1000:1000");
        }

        if (groupText is not null)
        {
            var gid = Number(groupText) ?? Number(Rows(group, 3).FirstOrDefault(row => row[0] == groupText)?[2] ?? "");
            return new ContainerUser(uid, gid ?? throw new CliException($"no group {groupText} in the container's /etc/group", "numbers always work: --user 1000:1000"), []);
        }

        if (entry is null)
        {
            return new ContainerUser(uid, 0, []);
        }

        var own = Number(entry[3]) ?? 0;
        var others = Rows(group, 4)
            .Where(row => row[3].Split(',').Contains(entry[0]))
            .Select(row => Number(row[2]))
            .OfType<uint>()
            .Where(gid => gid != own)
            .Distinct();
        return new ContainerUser(uid, own, [.. others]);
    }

    private static IEnumerable<string[]> Rows(string file, int columns) =>
        file.Split('\n').Select(line => line.TrimEnd('\r').Split(':')).Where(row => row.Length >= columns && row[0].Length > 0);

    // The kernel's own limit: 2^32 - 1 means "no change" to setuid.
    private static uint? Number(string text) =>
        uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number != uint.MaxValue ? number : null;

    private static string Read(SafeFileHandle root, string path)
    {
        using var handle = Libc.OpenInRoot(root, path);
        if (handle is null)
        {
            return "";
        }

        using var file = new FileStream(handle, FileAccess.Read, bufferSize: 0, isAsync: false);
        if (!file.CanSeek)
        {
            throw new CliException($"/{path} of the container is not a regular file");
        }

        if (file.Length > LargestFile)
        {
            throw new CliException($"/{path} of the container is larger than {LargestFile / 1024 / 1024} MiB");
        }

        var content = new byte[file.Length];
        return Encoding.UTF8.GetString(content, 0, file.ReadAtLeast(content, content.Length, throwOnEndOfStream: false));
    }
}
