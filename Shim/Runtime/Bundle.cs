using System.Text.Json;
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

    private Bundle(string directory, JsonElement config, JsonElement process)
    {
        var linux = ProcessJson.Member(config, "linux");
        _users = Ranges(ProcessJson.Member(linux, "uidMappings"));
        _groups = Ranges(ProcessJson.Member(linux, "gidMappings"));
        _process = ProcessJson.Write(process.WriteTo);
        Directory = directory;
        LimitsMemory = Limits(ProcessJson.Member(linux, "resources"));
        CgroupsPath = ProcessJson.Member(linux, "cgroupsPath")?.GetString();
        Process = ProcessJson.Describe(process, cause => Broken(directory, cause));
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
    internal static Bundle Load(string directory) => Read(directory, config => new Bundle(directory, config, ProcessOf(directory, config)));

    /// <summary>
    /// Writes a bundle next to the original one that differs only in whether its process has a terminal, and returns its directory:
    /// the caller of Create decides that, the original belongs to somebody else, and the runtime knows no option for it.
    /// </summary>
    internal static string WriteWithTerminal(string directory, string copy, bool terminal) => Read(directory, config =>
    {
        var process = ProcessOf(directory, config);
        var json = ProcessJson.Write(json =>
        {
            json.WriteStartObject();
            foreach (var member in config.EnumerateObject().Where(member => !member.NameEquals("process"u8) && !member.NameEquals("root"u8)))
            {
                member.WriteTo(json);
            }

            json.WritePropertyName("process"u8);
            ProcessJson.WriteWithTerminal(json, process, terminal);
            WriteRoot(json, directory, config);
            json.WriteEndObject();
        });
        System.IO.Directory.CreateDirectory(copy, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        File.WriteAllBytes(Path.Combine(copy, "config.json"), json);
        return copy;
    });

    /// <summary>`linux.resources` of a bundle's config.json, for the runtime's update; and whether they limit memory.</summary>
    internal static (byte[] Json, bool LimitsMemory) ReadResources(string directory) => Read(directory, config =>
        ProcessJson.Member(ProcessJson.Member(config, "linux"), "resources") is { ValueKind: JsonValueKind.Object } resources
            ? (ProcessJson.Write(resources.WriteTo), Limits(resources))
            : throw Broken(directory, "it has no linux.resources"));

    /// <summary>Whether an OCI `linux.resources` object limits memory. InvalidArgument when it is none.</summary>
    internal static bool LimitsMemoryOf(ReadOnlyMemory<byte> resources)
    {
        try
        {
            return Limits(ProcessJson.Parse(resources.Span));
        }
        catch (Exception e) when (IsOfContent(e))
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

    private static uint? Map(IdRange[] ranges, uint id)
    {
        foreach (var range in ranges)
        {
            if (id >= range.Container && id - range.Container < range.Count)
            {
                return range.Host + (id - range.Container);
            }
        }

        return null;
    }

    private static IdRange[] Ranges(JsonElement? mappings) => mappings is { } there
        ? [.. there.EnumerateArray().Select(mapping => new IdRange(
            ProcessJson.Number(mapping, "containerID"), ProcessJson.Number(mapping, "hostID"), ProcessJson.Number(mapping, "size")))]
        : [];

    private static bool Limits(JsonElement? resources) =>
        ProcessJson.Member(ProcessJson.Member(resources, "memory"), "limit") is { ValueKind: JsonValueKind.Number } limit && limit.TryGetInt64(out var bytes) && bytes > 0;

    /// <summary>The process.json for an exec, and what it says. InvalidArgument names what is wrong with a description of the caller's.</summary>
    internal (byte[] Json, ProcessSpec Spec) ForExec(ExecSpec exec)
    {
        try
        {
            var given = ProcessJson.Parse(exec.Process is { } process ? process.Span : _process);
            var json = ProcessJson.Write(json =>
            {
                if (exec.Process is null)
                {
                    ProcessJson.WriteExec(json, given, exec);
                }
                else
                {
                    ProcessJson.WriteWithTerminal(json, given, exec.Terminal);
                }
            });
            return (json, ProcessJson.Describe(ProcessJson.Parse(json), cause => Broken(Directory, cause)));
        }
        catch (Exception e) when (IsOfContent(e))
        {
            throw TaskException.Invalid($"cannot use the description of the process: {e.Message}", e);
        }
    }

    private static void WriteRoot(Utf8JsonWriter json, string directory, JsonElement config)
    {
        if (ProcessJson.Member(config, "root") is not { } root)
        {
            return;
        }

        json.WritePropertyName("root"u8);
        if (ProcessJson.Member(root, "path")?.GetString() is not { } path)
        {
            root.WriteTo(json);
            return;
        }

        json.WriteStartObject();
        foreach (var member in root.EnumerateObject().Where(member => !member.NameEquals("path"u8)))
        {
            member.WriteTo(json);
        }

        json.WriteString("path"u8, Path.GetFullPath(path, directory));
        json.WriteEndObject();
    }

    private static JsonElement ProcessOf(string directory, JsonElement config) =>
        ProcessJson.Member(config, "process") is { ValueKind: JsonValueKind.Object } process ? process : throw Broken(directory, "it has no process");

    /// <summary>What <paramref name="read"/> makes of config.json. InvalidArgument names what is wrong with it, NotFound when it is not there.</summary>
    private static T Read<T>(string directory, Func<JsonElement, T> read)
    {
        var bytes = ReadConfig(directory);
        try
        {
            return read(ProcessJson.Parse(bytes));
        }
        catch (Exception e) when (IsOfContent(e))
        {
            throw Broken(directory, e.Message, e);
        }
    }

    // A field that is there and has another type than the OCI specification says, or that is there twice; or no JSON at all.
    private static bool IsOfContent(Exception e) => e is InvalidOperationException or FormatException or OverflowException or ArgumentException or JsonException;

    private static byte[] ReadConfig(string directory)
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

            return File.ReadAllBytes(path);
        }
        catch (FileNotFoundException)
        {
            throw TaskException.NotFound($"the bundle {directory} has no config.json");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw ErrorKinds.OfMachine(e) is { } kind ? new TaskException(kind, $"read {path}: {e.Message}", e) : Broken(directory, e.Message, e);
        }
    }

    private static TaskException Broken(string directory, string cause, Exception? inner = null) =>
        TaskException.Invalid($"cannot use {Path.Combine(directory, "config.json")}: {cause}", inner);

    private readonly record struct IdRange(uint Container, uint Host, uint Count);
}
