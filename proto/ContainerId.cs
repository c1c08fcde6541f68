namespace Containerd;

/// <summary>The rule for container ids: they name directories, cgroups and sockets, so nothing of a path can be in them.</summary>
public static class ContainerId
{
    /// <summary>The longest id, in characters.</summary>
    public const int MaxLength = 128;

    /// <summary>Whether <paramref name="id"/> matches [A-Za-z0-9][A-Za-z0-9_.-]{0,127}.</summary>
    public static bool IsValid(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        if (id.Length is 0 or > MaxLength || !char.IsAsciiLetterOrDigit(id[0]))
        {
            return false;
        }

        foreach (var c in id)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('_' or '.' or '-'))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Throws InvalidArgument, with the rule, for an id that does not match it; the message shows only what is safe to print.</summary>
    public static void Check(string id)
    {
        if (!IsValid(id))
        {
            throw TaskException.Invalid(
                $"container id {Show(id)} is not valid: it must be 1 to {MaxLength} letters, digits, '_', '.' or '-' and begin with a letter or digit");
        }
    }

    private static string Show(string id)
    {
        var shown = string.Concat(id.Take(64).Select(character => char.IsControl(character) ? $"\\x{(int)character:x2}" : $"{character}"));
        return id.Length > 64 ? $"\"{shown}...\" ({id.Length} characters)" : $"\"{shown}\"";
    }
}
