using System.Text.Json;
using Containerd;

namespace Supervisor.Containers;

/// <summary>The little that the supervisor reads in a bundle: everything else is between the shim and the runtime.</summary>
/// <param name="Path">The bundle's absolute path.</param>
/// <param name="Terminal">Whether <c>process.terminal</c> asks for a terminal.</param>
/// <param name="Owners">Values of the annotation <c>containerd.io/owner</c>.</param>
/// <param name="AdoptsLoss">Whether the annotation <c>containerd.io/on-shim-loss</c> says "adopt".</param>
/// <param name="CgroupsPath"><c>linux.cgroupsPath</c>, if there is one.</param>
internal sealed record Bundle(string Path, bool Terminal, IReadOnlyList<string> Owners, bool AdoptsLoss, string? CgroupsPath)
{
    /// <summary>The annotation that says what becomes of the container when its shim is lost.</summary>
    internal const string LossAnnotation = "containerd.io/on-shim-loss";

    private const string OwnerAnnotation = "containerd.io/owner";
    private const int MaxConfigBytes = 8 * 1024 * 1024;

    /// <summary>
    /// Reads the config.json of the bundle at <paramref name="path"/>. A path that is not absolute or a file that is not JSON is
    /// InvalidArgument, a missing directory or file NotFound.
    /// </summary>
    internal static async Task<Bundle> ReadAsync(string path, CancellationToken cancellationToken)
    {
        CheckPath(path);
        var config = System.IO.Path.Join(path, "config.json");
        try
        {
            if (!Directory.Exists(path))
            {
                throw TaskException.NotFound($"bundle {path}: no such directory");
            }

            await using var file = new FileStream(config, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 4096, useAsync: false);
            if (!file.CanSeek || file.Length > MaxConfigBytes)
            {
                throw TaskException.Invalid($"read {config}: not a regular file of at most {MaxConfigBytes} bytes");
            }

            using var document = await JsonDocument.ParseAsync(file, cancellationToken: cancellationToken);
            return Parse(path, document.RootElement);
        }
        catch (JsonException e)
        {
            throw TaskException.Invalid($"read {config}: {Sentence(e.Message)}", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new TaskException(ErrorKind.NotFound, $"read {config}: no such file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TaskException(ErrorKinds.OfMachine(e) ?? ErrorKind.InvalidArgument, $"read {config}: {Sentence(e.Message)}", e);
        }
    }

    /// <summary>Refuses a path that cannot be a bundle's, before it touches the file system.</summary>
    internal static void CheckPath(string path)
    {
        if (path.Length == 0)
        {
            throw TaskException.Invalid("the bundle path is empty");
        }

        if (path.Contains('\0', StringComparison.Ordinal) || path.Length >= 4096)
        {
            throw TaskException.Invalid("the bundle path contains a NUL byte or is longer than 4095 bytes");
        }

        if (path[0] != '/')
        {
            throw TaskException.Invalid($"the bundle path {path} is not absolute");
        }
    }

    private static Bundle Parse(string path, JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw TaskException.Invalid($"read {path}/config.json: not a JSON object");
        }

        var terminal = root.TryGetProperty("process", out var process) && process.ValueKind == JsonValueKind.Object
            && process.TryGetProperty("terminal", out var value) && value.ValueKind == JsonValueKind.True;
        var owners = Annotation(root, OwnerAnnotation)?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
        var adopts = Annotation(root, LossAnnotation) switch
        {
            null or "kill" => false,
            "adopt" => true,
            var other => throw TaskException.Invalid($"read {path}/config.json: the annotation {LossAnnotation} is kill or adopt, not \"{other}\""),
        };
        var cgroupsPath = root.TryGetProperty("linux", out var linux) && linux.ValueKind == JsonValueKind.Object
            && linux.TryGetProperty("cgroupsPath", out var cgroup) && cgroup.ValueKind == JsonValueKind.String ? cgroup.GetString() : null;
        return new Bundle(path, terminal, owners, adopts, cgroupsPath);
    }

    private static string? Annotation(JsonElement root, string name) =>
        root.TryGetProperty("annotations", out var annotations) && annotations.ValueKind == JsonValueKind.Object
            && annotations.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    private static string Sentence(string message) => message.Length == 0 ? message : char.ToLowerInvariant(message[0]) + message[1..].TrimEnd('.');
}
