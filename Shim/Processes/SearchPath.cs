namespace Shim.Processes;

/// <summary>
/// The PATH that programs get which are started here: the one thing of our environment that they need. NOTIFY_SOCKET, LISTEN_FDS and all the rest
/// must not reach a runtime or its hooks.
/// </summary>
internal static class SearchPath
{
    /// <summary>Ours, or the usual one.</summary>
    internal static string Value { get; } =
        Environment.GetEnvironmentVariable("PATH") is { Length: > 0 } path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Where a program lies; null when it is in none of the directories.</summary>
    internal static string? Find(string name) =>
        Value.Split(':', StringSplitOptions.RemoveEmptyEntries).Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists);
}
