namespace Shim.Rootfs;

/// <summary>
/// mount(2) takes one page of options. The layers of an image with many of them need more, but they lie in one directory: seen from there their
/// paths are short.
/// </summary>
internal static class OverlayPaths
{
    /// <summary>What mount(2) takes, its final zero included.</summary>
    internal const int MaxData = 4096;

    private const string Layers = "lowerdir=";

    /// <summary>
    /// The options as one text, and the directory from which they must be given; null when any will do because the paths are absolute.
    /// </summary>
    internal static (string Data, string? Directory) Join(IReadOnlyList<string> options)
    {
        var data = string.Join(',', options);
        if (System.Text.Encoding.UTF8.GetByteCount(data) < MaxData || options.FirstOrDefault(option => option.StartsWith(Layers, StringComparison.Ordinal)) is not { } lower)
        {
            return (data, null);
        }

        var layers = lower[Layers.Length..].Split(':');
        var directory = CommonDirectory(layers);
        if (directory.Length <= 1)
        {
            return (data, null);
        }

        var relative = Layers + string.Join(':', layers.Select(layer => layer[(directory.Length + 1)..]));
        return (string.Join(',', options.Select(option => option == lower ? relative : option)), directory);
    }

    /// <summary>The deepest directory that all paths lie in; never one of the paths itself.</summary>
    private static string CommonDirectory(string[] paths)
    {
        var directory = Path.GetDirectoryName(paths[0]) ?? "";
        foreach (var path in paths)
        {
            while (directory.Length > 1 && !path.StartsWith(directory + "/", StringComparison.Ordinal))
            {
                directory = Path.GetDirectoryName(directory) ?? "";
            }
        }

        return directory;
    }
}
