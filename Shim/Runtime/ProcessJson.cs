using System.Text.Json;
using Containerd;

namespace Shim.Runtime;

/// <summary>The process object of the OCI specification: what it says, and the ones that execs are started with.</summary>
/// <remarks>
/// Read and written as elements and not as nodes: a node's values are got through virtual generic methods, and for those NativeAOT builds types at run time,
/// which costs every shim 150 KB and four milliseconds. Not as documents either: those leave their buffers in a pool.
/// </remarks>
internal static class ProcessJson
{
    // A name that is there twice: the runtime would take one or the other.
    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false };

    /// <summary>Reads JSON that must be an object; FormatException and JsonException when it is not.</summary>
    internal static JsonElement Parse(ReadOnlySpan<byte> json) =>
        JsonElement.Parse(json, s_strict) is { ValueKind: JsonValueKind.Object } root ? root : throw new FormatException("it is not a JSON object");

    /// <summary>A member of an object; null when it is not there or null, or when <paramref name="parent"/> is no object.</summary>
    internal static JsonElement? Member(JsonElement? parent, string name) =>
        parent is { ValueKind: JsonValueKind.Object } element && element.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>The bytes of what <paramref name="write"/> writes.</summary>
    internal static byte[] Write(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, PlainEncoder.Options))
        {
            write(json);
        }

        return buffer.ToArray();
    }

    /// <summary><paramref name="process"/> with or without a terminal.</summary>
    internal static void WriteWithTerminal(Utf8JsonWriter json, JsonElement process, bool terminal)
    {
        json.WriteStartObject();
        foreach (var member in process.EnumerateObject().Where(member => !member.NameEquals("terminal"u8)))
        {
            member.WriteTo(json);
        }

        json.WriteBoolean("terminal"u8, terminal);
        json.WriteEndObject();
    }

    /// <summary>
    /// The process of an exec: the bundle's is the <paramref name="template"/>; its oom score, labels, limits and capabilities hold for an exec too unless the
    /// caller names his own.
    /// </summary>
    internal static void WriteExec(Utf8JsonWriter json, JsonElement template, ExecSpec exec)
    {
        json.WriteStartObject();
        foreach (var member in template.EnumerateObject().Where(member => !IsReplaced(exec, member.Name)))
        {
            member.WriteTo(json);
        }

        WriteReplacements(json, Member(template, "env"), exec);
        json.WriteEndObject();
    }

    /// <summary>What a process object says. <paramref name="broken"/> makes the exception for one that no process can be started with.</summary>
    internal static ProcessSpec Describe(JsonElement process, Func<string, TaskException> broken)
    {
        var args = Texts(Member(process, "args"));
        if (args.Length == 0)
        {
            throw broken("process.args is empty");
        }

        var user = Member(process, "user");
        return new ProcessSpec(
            args,
            Texts(Member(process, "env")),
            Member(process, "cwd")?.GetString() is { Length: > 0 } cwd ? cwd : "/",
            Number(user, "uid"),
            Number(user, "gid"),
            Groups(Member(user, "additionalGids")),
            Member(process, "terminal")?.GetBoolean() ?? false);
    }

    /// <summary>A number that is 0 when it is not there.</summary>
    internal static uint Number(JsonElement? parent, string name) => Member(parent, name)?.GetUInt32() ?? 0;

    private static bool IsReplaced(ExecSpec exec, string name) => name switch
    {
        // A size in the template is the size of init's terminal.
        "terminal" or "consoleSize" => true,
        "args" or "commandLine" => exec.Args.Count > 0,
        "env" => exec.Env.Count > 0,
        "cwd" => exec.Cwd.Length > 0,
        "user" => exec.User is not null,
        "capabilities" => exec.Capabilities.Count > 0,
        "rlimits" => exec.Rlimits.Count > 0,
        "noNewPrivileges" => exec.NoNewPrivileges,
        "selinuxLabel" => exec.SelinuxLabel.Length > 0,
        "apparmorProfile" => exec.ApparmorProfile.Length > 0,
        _ => false,
    };

    private static void WriteReplacements(Utf8JsonWriter json, JsonElement? env, ExecSpec exec)
    {
        json.WriteBoolean("terminal"u8, exec.Terminal);
        if (exec is { Terminal: true, ConsoleSize: { } size })
        {
            json.WriteStartObject("consoleSize"u8);
            json.WriteNumber("width"u8, (uint)size.Columns);
            json.WriteNumber("height"u8, (uint)size.Rows);
            json.WriteEndObject();
        }

        WriteTexts(json, "args", exec.Args);
        WriteTexts(json, "env", exec.Env.Count > 0 ? [.. Texts(env), .. exec.Env] : []);
        WriteText(json, "cwd", exec.Cwd);
        WriteUser(json, exec.User);
        if (exec.Capabilities.Count > 0)
        {
            json.WriteStartObject("capabilities"u8);
            foreach (var set in (ReadOnlySpan<string>)["bounding", "effective", "permitted", "inheritable"])
            {
                WriteTexts(json, set, exec.Capabilities);
            }

            json.WriteEndObject();
        }

        WriteLimits(json, exec.Rlimits);
        if (exec.NoNewPrivileges)
        {
            json.WriteBoolean("noNewPrivileges"u8, true);
        }

        WriteText(json, "selinuxLabel", exec.SelinuxLabel);
        WriteText(json, "apparmorProfile", exec.ApparmorProfile);
    }

    private static void WriteUser(Utf8JsonWriter json, ExecUser? user)
    {
        if (user is null)
        {
            return;
        }

        json.WriteStartObject("user"u8);
        json.WriteNumber("uid"u8, user.Uid);
        json.WriteNumber("gid"u8, user.Gid);
        if (user.AdditionalGids.Count > 0)
        {
            json.WriteStartArray("additionalGids"u8);
            foreach (var group in user.AdditionalGids)
            {
                json.WriteNumberValue(group);
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    private static void WriteLimits(Utf8JsonWriter json, IReadOnlyList<ExecRlimit> limits)
    {
        if (limits.Count == 0)
        {
            return;
        }

        json.WriteStartArray("rlimits"u8);
        foreach (var limit in limits)
        {
            json.WriteStartObject();
            json.WriteString("type"u8, limit.Type);
            json.WriteNumber("hard"u8, limit.Hard);
            json.WriteNumber("soft"u8, limit.Soft);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteText(Utf8JsonWriter json, string name, string text)
    {
        if (text.Length > 0)
        {
            json.WriteString(name, text);
        }
    }

    private static void WriteTexts(Utf8JsonWriter json, string name, IReadOnlyList<string> texts)
    {
        if (texts.Count == 0)
        {
            return;
        }

        json.WriteStartArray(name);
        foreach (var text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private static string[] Texts(JsonElement? array)
    {
        if (array is not { } there)
        {
            return [];
        }

        var texts = new string[there.GetArrayLength()];
        for (var i = 0; i < texts.Length; i++)
        {
            texts[i] = there[i].GetString() ?? "";
        }

        return texts;
    }

    private static uint[] Groups(JsonElement? array)
    {
        if (array is not { } there)
        {
            return [];
        }

        var groups = new uint[there.GetArrayLength()];
        for (var i = 0; i < groups.Length; i++)
        {
            groups[i] = there[i].GetUInt32();
        }

        return groups;
    }
}
