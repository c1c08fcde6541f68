using System.Text.Json;
using System.Text.Json.Nodes;

namespace Supervisor.Cli.Bundles;

/// <summary>A bundle's config.json with a person's choices put over it, fit for another directory.</summary>
internal static class ConfigOverrides
{
    /// <summary>Reads <c>config.json</c> of <paramref name="bundle"/>.</summary>
    internal static JsonObject Read(string bundle)
    {
        var path = Path.Combine(bundle, "config.json");
        try
        {
            return JsonNode.Parse(File.ReadAllText(path)) as JsonObject ?? throw new CliException($"{path} is not a JSON object");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CliException($"{bundle} is not a bundle: it has no config.json", "make one with `runc spec`, or use --rootfs with the root directory alone");
        }
        catch (JsonException e)
        {
            throw new CliException($"{path} is not JSON: {e.Message}");
        }
    }

    /// <summary>The absolute root directory that <paramref name="config"/> of <paramref name="bundle"/> names.</summary>
    internal static string RootOf(JsonObject config, string bundle)
    {
        var path = Text(config["root"] as JsonObject, "path");
        return path.Length > 0 ? Path.GetFullPath(path, bundle) : throw new CliException($"config.json of {bundle} has no root.path");
    }

    /// <summary>Sets an annotation; null leaves it as it is.</summary>
    internal static void Annotate(JsonObject config, string name, string? value)
    {
        if (value is null)
        {
            return;
        }

        if (config["annotations"] is not JsonObject annotations)
        {
            config["annotations"] = annotations = [];
        }

        annotations[name] = value;
    }

    /// <summary>
    /// Puts <paramref name="choice"/> over the process of <paramref name="config"/>, and makes every path absolute that was relative to
    /// <paramref name="bundle"/>, because the result will lie elsewhere.
    /// </summary>
    internal static void Apply(JsonObject config, string bundle, ProcessChoice choice, ContainerUser? user)
    {
        ((JsonObject)config["root"]!)["path"] = RootOf(config, bundle);
        MakeBindMountsAbsolute(config, bundle);
        if (config["process"] is not JsonObject process)
        {
            throw new CliException($"config.json of {bundle} has no process");
        }

        if (choice.Command.Count > 0)
        {
            process["args"] = DefaultConfig.Strings(choice.Command);
        }

        if (choice.Environment.Count > 0)
        {
            var before = (process["env"] as JsonArray)?.Select(value => value?.GetValue<string>() ?? "") ?? [];
            process["env"] = DefaultConfig.Strings(MergeEnvironment(before, choice.Environment));
        }

        if (choice.WorkingDirectory is not null)
        {
            process["cwd"] = choice.WorkingDirectory;
        }

        if (user is not null)
        {
            process["user"] = user.ToJson();
        }
    }

    /// <summary>The environment with each of <paramref name="added"/> in place of a variable of the same name, or at the end.</summary>
    internal static IReadOnlyList<string> MergeEnvironment(IEnumerable<string> environment, IEnumerable<string> added)
    {
        var merged = environment.ToList();
        foreach (var variable in added)
        {
            var name = NameOf(variable);
            var index = merged.FindIndex(existing => NameOf(existing).SequenceEqual(name));
            if (index >= 0)
            {
                merged[index] = variable;
            }
            else
            {
                merged.Add(variable);
            }
        }

        return merged;
    }

    private static string NameOf(string variable) => variable.Split('=', 2)[0];

    private static void MakeBindMountsAbsolute(JsonObject config, string bundle)
    {
        foreach (var mount in (config["mounts"] as JsonArray ?? []).OfType<JsonObject>())
        {
            var source = Text(mount, "source");
            var binds = Text(mount, "type") == "bind"
                || (mount["options"] as JsonArray ?? []).Any(option => option?.GetValueKind() == JsonValueKind.String && option.GetValue<string>() is "bind" or "rbind");
            if (binds && source.Length > 0 && source[0] != '/')
            {
                mount["source"] = Path.GetFullPath(source, bundle);
            }
        }
    }

    private static string Text(JsonObject? value, string name) =>
        value?[name] is JsonValue text && text.GetValueKind() == JsonValueKind.String ? text.GetValue<string>() : "";
}
