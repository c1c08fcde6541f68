using System.Text.Json;
using System.Text.Json.Nodes;
using Containerd;
using Shim.Interop;

namespace Shim.Runtime;

/// <summary>
/// A bundle directory with its config.json, read once: what happens to the files afterwards does not change a container that exists.
/// </summary>
internal sealed class Bundle
{
    private const int MaxConfigBytes = 4 * 1024 * 1024;

    // The process object as it stood in config.json: the template of every exec. A few KB, instead of a tree of nodes.
    private readonly byte[] _process;

    // Ids of the container, of the host, and how many; empty without a user namespace.
    private readonly IdRange[] _users;
    private readonly IdRange[] _groups;

    private Bundle(string directory, byte[] process, ProcessSpec spec, JsonNode? linux)
    {
        _users = Ranges(linux?["uidMappings"]);
        _groups = Ranges(linux?["gidMappings"]);
        Directory = directory;
        LimitsMemory = Limits(linux?["resources"]);
        CgroupsPath = linux?["cgroupsPath"]?.GetValue<string>();
        Process = spec;
        _process = process;
    }

    /// <summary>Absolute path of the bundle.</summary>
    internal string Directory { get; }

    /// <summary>Whether the container's memory is limited, so that it can run out of it.</summary>
    internal bool LimitsMemory { get; }

    /// <summary>What the config names the container's cgroup, if it does.</summary>
    internal string? CgroupsPath { get; }

    /// <summary>The container's first process.</summary>
    internal ProcessSpec Process { get; }

    /// <summary>Reads the bundle. InvalidArgument names what is wrong with it, NotFound when it is not there.</summary>
    internal static Bundle Load(string directory)
    {
        var config = ReadConfig(directory);
        return Guard(directory, () => config["process"] is JsonObject process
            ? new Bundle(directory, JsonSerializer.SerializeToUtf8Bytes(process, BundleJson.Default.JsonObject), Describe(directory, process), config["linux"])
            : throw Broken(directory, "it has no process"));
    }

    /// <summary>
    /// Writes a bundle next to the original one that differs only in whether its process has a terminal, and returns its directory:
    /// the caller of Create decides that, the original belongs to somebody else, and the runtime knows no option for it.
    /// </summary>
    internal static string WriteWithTerminal(string directory, string copy, bool terminal)
    {
        var config = ReadConfig(directory);
        return Guard(directory, () =>
        {
            config["process"]!.AsObject()["terminal"] = terminal;
            if (config["root"] is JsonObject root && root["path"]?.GetValue<string>() is { } path)
            {
                root["path"] = Path.GetFullPath(path, directory);
            }

            System.IO.Directory.CreateDirectory(copy, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            File.WriteAllBytes(Path.Combine(copy, "config.json"), JsonSerializer.SerializeToUtf8Bytes(config, BundleJson.Default.JsonObject));
            return copy;
        });
    }

    /// <summary>`linux.resources` of a bundle's config.json, for the runtime's update; and whether they limit memory.</summary>
    internal static (byte[] Json, bool LimitsMemory) ReadResources(string directory)
    {
        var config = ReadConfig(directory);
        return Guard(directory, () => config["linux"] is JsonObject linux && linux["resources"] is JsonObject resources
            ? (JsonSerializer.SerializeToUtf8Bytes(resources, BundleJson.Default.JsonObject), Limits(resources))
            : throw Broken(directory, "it has no linux.resources"));
    }

    /// <summary>Whether an OCI `linux.resources` object limits memory. InvalidArgument when it is none.</summary>
    internal static bool LimitsMemoryOf(ReadOnlyMemory<byte> resources)
    {
        try
        {
            return Limits(JsonNode.Parse(resources.Span) as JsonObject ?? throw new FormatException("it is not a JSON object"));
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException or ArgumentException or JsonException)
        {
            throw TaskException.Invalid($"cannot use the resources: {e.Message}", e);
        }
    }

    /// <summary>
    /// Whom a process of the container is to the host, if the container has a user namespace. Null if it has none: then the runtime itself gives the
    /// streams to the process's user, which it may not do across the border of a namespace.
    /// </summary>
    internal (uint User, uint Group)? HostIdentity(uint uid, uint gid) =>
        Map(_users, uid) is { } user && Map(_groups, gid) is { } group ? (user, group) : null;

    private static uint? Map(IdRange[] ranges, uint id) =>
        ranges.Where(range => id >= range.Container && id - range.Container < range.Count).Select(range => (uint?)(range.Host + (id - range.Container))).FirstOrDefault();

    private static IdRange[] Ranges(JsonNode? mappings) => [.. mappings?.AsArray().OfType<JsonObject>().Select(mapping => new IdRange(
        mapping["containerID"]?.GetValue<uint>() ?? 0, mapping["hostID"]?.GetValue<uint>() ?? 0, mapping["size"]?.GetValue<uint>() ?? 0)) ?? []];

    private static bool Limits(JsonNode? resources) => resources?["memory"]?["limit"] is JsonValue limit && limit.TryGetValue<long>(out var bytes) && bytes > 0;

    /// <summary>
    /// The process.json for an exec, and what it says. The bundle's process is the template; its oom score, labels, limits and
    /// capabilities hold for an exec too unless the caller names his own.
    /// </summary>
    internal (byte[] Json, ProcessSpec Spec) ForExec(ExecSpec exec)
    {
        if (exec.Process is { } whole)
        {
            return Complete(exec, whole);
        }

        var process = JsonNode.Parse(_process)!.AsObject();
        process["terminal"] = exec.Terminal;

        // A size in the template is the size of init's terminal.
        process.Remove("consoleSize");
        if (exec is { Terminal: true, ConsoleSize: { } size })
        {
            process["consoleSize"] = new JsonObject { ["width"] = (uint)size.Columns, ["height"] = (uint)size.Rows };
        }

        if (exec.Args.Count > 0)
        {
            process["args"] = Strings(exec.Args);
            process.Remove("commandLine");
        }

        if (exec.Env.Count > 0)
        {
            process["env"] = Strings([.. Process.Env, .. exec.Env]);
        }

        if (exec.Cwd.Length > 0)
        {
            process["cwd"] = exec.Cwd;
        }

        if (exec.User is { } user)
        {
            var node = new JsonObject { ["uid"] = user.Uid, ["gid"] = user.Gid };
            if (user.AdditionalGids.Count > 0)
            {
                node["additionalGids"] = new JsonArray([.. user.AdditionalGids.Select(gid => (JsonNode)gid)]);
            }

            process["user"] = node;
        }

        if (exec.Capabilities.Count > 0)
        {
            process["capabilities"] = new JsonObject
            {
                ["bounding"] = Strings(exec.Capabilities),
                ["effective"] = Strings(exec.Capabilities),
                ["permitted"] = Strings(exec.Capabilities),
                ["inheritable"] = Strings(exec.Capabilities),
            };
        }

        if (exec.Rlimits.Count > 0)
        {
            process["rlimits"] = new JsonArray([.. exec.Rlimits.Select(limit =>
                (JsonNode)new JsonObject { ["type"] = limit.Type, ["hard"] = limit.Hard, ["soft"] = limit.Soft })]);
        }

        if (exec.NoNewPrivileges)
        {
            process["noNewPrivileges"] = true;
        }

        if (exec.SelinuxLabel.Length > 0)
        {
            process["selinuxLabel"] = exec.SelinuxLabel;
        }

        if (exec.ApparmorProfile.Length > 0)
        {
            process["apparmorProfile"] = exec.ApparmorProfile;
        }

        return (JsonSerializer.SerializeToUtf8Bytes(process, BundleJson.Default.JsonObject), Describe(Directory, process));
    }

    private (byte[] Json, ProcessSpec Spec) Complete(ExecSpec exec, ReadOnlyMemory<byte> whole)
    {
        try
        {
            var process = JsonNode.Parse(whole.Span) as JsonObject ?? throw new FormatException("it is not a JSON object");
            process["terminal"] = exec.Terminal;
            return (JsonSerializer.SerializeToUtf8Bytes(process, BundleJson.Default.JsonObject), Describe(Directory, process));
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException or OverflowException or ArgumentException or JsonException)
        {
            throw TaskException.Invalid($"cannot use the description of the process: {e.Message}", e);
        }
    }

    private static JsonArray Strings(IEnumerable<string> texts) => new([.. texts.Select(text => (JsonNode?)JsonValue.Create(text))]);

    private static ProcessSpec Describe(string directory, JsonObject process)
    {
        var args = Texts(process["args"]);
        if (args.Length == 0)
        {
            throw Broken(directory, "process.args is empty");
        }

        var user = process["user"] as JsonObject;
        return new ProcessSpec(
            args,
            Texts(process["env"]),
            process["cwd"]?.GetValue<string>() is { Length: > 0 } cwd ? cwd : "/",
            user?["uid"]?.GetValue<uint>() ?? 0,
            user?["gid"]?.GetValue<uint>() ?? 0,
            [.. user?["additionalGids"]?.AsArray().Select(gid => gid?.GetValue<uint>() ?? throw new FormatException("process.user.additionalGids contains null")) ?? []],
            process["terminal"]?.GetValue<bool>() ?? false);
    }

    private static string[] Texts(JsonNode? array) => [.. array?.AsArray().Select(item => item?.GetValue<string>() ?? "") ?? []];

    private static JsonObject ReadConfig(string directory)
    {
        if (!Path.IsPathFullyQualified(directory) || directory.Contains('\0'))
        {
            throw TaskException.Invalid($"the bundle path \"{directory}\" is not absolute");
        }

        if (!System.IO.Directory.Exists(directory))
        {
            throw TaskException.NotFound($"the bundle {directory} does not exist");
        }

        var path = Path.Combine(directory, "config.json");
        try
        {
            // A FIFO would keep us waiting for its writer, and /dev/zero would never end.
            if (Libc.KindOf(path) is not (FileKind.Regular or FileKind.Missing))
            {
                throw Broken(directory, "it is not a regular file");
            }

            if (new FileInfo(path) is { Exists: true, Length: > MaxConfigBytes } file)
            {
                throw Broken(directory, $"it has {file.Length} bytes, more than {MaxConfigBytes}");
            }

            return JsonNode.Parse(File.ReadAllBytes(path)) as JsonObject ?? throw Broken(directory, "it is not a JSON object");
        }
        catch (FileNotFoundException)
        {
            throw TaskException.NotFound($"the bundle {directory} has no config.json");
        }
        catch (JsonException e)
        {
            throw Broken(directory, e.Message, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw ErrorKinds.OfMachine(e) is { } kind ? new TaskException(kind, $"read {path}: {e.Message}", e) : Broken(directory, e.Message, e);
        }
    }

    // A field that is there and has another type than the OCI specification says, or that is there twice (ArgumentException).
    private static T Guard<T>(string directory, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException or OverflowException or ArgumentException or JsonException)
        {
            throw Broken(directory, e.Message, e);
        }
    }

    private static TaskException Broken(string directory, string cause, Exception? inner = null) =>
        TaskException.Invalid($"cannot use {Path.Combine(directory, "config.json")}: {cause}", inner);

    private readonly record struct IdRange(uint Container, uint Host, uint Count);
}
