using Containerd;

namespace Supervisor.Containers;

/// <summary>
/// The little that is checked of a stream's address before a shim gets it. The shim completes a relative path with its own working
/// directory, for clients of 2017 that share it; ours do not, and that directory is nobody else's.
/// </summary>
internal static class StreamAddress
{
    private const int MaxLength = 4096;

    /// <summary>Refuses what can never be an address.</summary>
    internal static void Check(string address, string name)
    {
        if (address.Contains('\0', StringComparison.Ordinal) || address.Length > MaxLength)
        {
            throw TaskException.Invalid($"the {name} address contains a NUL byte or is longer than {MaxLength} characters");
        }

        if (address.Length == 0 || address[0] == '/')
        {
            return;
        }

        var scheme = address.IndexOf("://", StringComparison.Ordinal) is > 0 and var end ? address[..end] : null;
        if (scheme is null)
        {
            throw TaskException.Invalid($"cannot use \"{address}\" as {name}: the path is not absolute");
        }

        if (scheme is not ("fifo" or "file" or "log" or "binary"))
        {
            throw TaskException.Invalid($"cannot use \"{address}\" as {name}: unknown scheme \"{scheme}\"");
        }
    }
}
