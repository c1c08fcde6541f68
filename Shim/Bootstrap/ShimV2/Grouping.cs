using System.Text.Json;

namespace Shim.Bootstrap.ShimV2;

/// <summary>Which containers share a shim: those whose bundles name the same group in an annotation, as those of a pod do.</summary>
internal static class Grouping
{
    private static readonly string[] s_annotations = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

    /// <summary>The group of the container whose bundle this is; its own id when it names none.</summary>
    internal static string Of(string bundle, string id)
    {
        try
        {
            var config = JsonElement.Parse(File.ReadAllBytes(Path.Combine(bundle, "config.json")));
            if (config.TryGetProperty("annotations"u8, out var annotations) && annotations.ValueKind == JsonValueKind.Object)
            {
                foreach (var name in s_annotations)
                {
                    if (annotations.TryGetProperty(name, out var group) && group.GetString() is { Length: > 0 } value)
                    {
                        return value;
                    }
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"cannot read {bundle}/config.json: {e.Message}", e);
        }

        return id;
    }
}
