using System.Text.Json;

namespace Shim.Runtime;

/// <summary>
/// How a container's runtime is to be called, as containerd's clients say it with each container and its configuration says it for all. Kept in the
/// bundle as well, for a checkpoint, and for whoever must remove the container when its shim is gone.
/// </summary>
internal sealed record RuntimeOptions
{
    private const string FileName = "shim-options.json";

    /// <summary>Name or path of the runtime.</summary>
    internal string Binary { get; init; } = "runc";

    /// <summary>Directory of the runtime's state, to which containerd's namespace is added.</summary>
    internal string Root { get; init; } = "/run/containerd/runc";

    internal bool SystemdCgroup { get; init; }

    internal bool NoPivotRoot { get; init; }

    internal bool NoNewKeyring { get; init; }

    /// <summary>The cgroup that a new shim is put into; empty leaves it where containerd is.</summary>
    internal string ShimCgroup { get; init; } = "";

    /// <summary>Owner of the pipes of the container's processes; null is each process's own user.</summary>
    internal (uint User, uint Group)? StreamOwner { get; init; }

    /// <summary>Where CRIU's images go when a checkpoint names no place.</summary>
    internal string CriuImagePath { get; init; } = "";

    internal string CriuWorkPath { get; init; } = "";

    /// <summary>Keeps in the bundle what <see cref="Read"/> needs.</summary>
    internal void Write(string bundle)
    {
        using var file = File.Create(Path.Combine(bundle, FileName));
        using var json = new Utf8JsonWriter(file);
        json.WriteStartObject();
        json.WriteString("binary"u8, Binary);
        json.WriteString("root"u8, Root);
        json.WriteBoolean("systemdCgroup"u8, SystemdCgroup);
        json.WriteString("criuImagePath"u8, CriuImagePath);
        json.WriteString("criuWorkPath"u8, CriuWorkPath);
        json.WriteEndObject();
    }

    /// <summary>What <see cref="Write"/> kept; the defaults when there is nothing, or nothing that can be read.</summary>
    internal static RuntimeOptions Read(string bundle)
    {
        try
        {
            var root = JsonElement.Parse(File.ReadAllBytes(Path.Combine(bundle, FileName)));
            return new RuntimeOptions
            {
                Binary = root.GetProperty("binary"u8).GetString()!,
                Root = root.GetProperty("root"u8).GetString()!,
                SystemdCgroup = root.GetProperty("systemdCgroup"u8).GetBoolean(),
                CriuImagePath = OptionalText(root, "criuImagePath"u8),
                CriuWorkPath = OptionalText(root, "criuWorkPath"u8),
            };
        }
        catch (Exception e) when (e is IOException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new RuntimeOptions();
        }
    }

    // A bundle of an older shim has none: that must not cost the others, without which its container cannot be removed.
    private static string OptionalText(JsonElement root, ReadOnlySpan<byte> name) =>
        root.TryGetProperty(name, out var value) ? value.GetString() ?? "" : "";
}
