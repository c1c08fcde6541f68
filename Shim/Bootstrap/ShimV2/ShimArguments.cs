namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// The command line that containerd uses for every runtime shim: flags in Go's manner (one hyphen or two, a value after a space or an equals sign), and
/// after them at most one action.
/// </summary>
internal sealed record ShimArguments
{
    /// <summary>containerd's namespace.</summary>
    internal string Namespace { get; init; } = "";

    /// <summary>Of the container or sandbox.</summary>
    internal string Id { get; init; } = "";

    /// <summary>The daemon's gRPC socket.</summary>
    internal string Address { get; init; } = "";

    /// <summary>The daemon's executable.</summary>
    internal string PublishBinary { get; init; } = "";

    /// <summary>The container's bundle, for <c>delete</c>.</summary>
    internal string Bundle { get; init; } = "";

    /// <summary>The socket to serve, for a shim that somebody starts by hand.</summary>
    internal string Socket { get; init; } = "";

    internal bool Debug { get; init; }

    /// <summary><c>-v</c></summary>
    internal bool Version { get; init; }

    /// <summary><c>-info</c></summary>
    internal bool Info { get; init; }

    /// <summary>start, delete, or nothing, which serves.</summary>
    internal string Action { get; init; } = "";

    /// <summary>Reads the arguments. FormatException names the one that is wrong.</summary>
    internal static ShimArguments Parse(IReadOnlyList<string> arguments)
    {
        var result = new ShimArguments();
        for (var i = 0; i < arguments.Count; i++)
        {
            var argument = arguments[i];
            if (argument.Length < 2 || argument[0] != '-')
            {
                return i == arguments.Count - 1
                    ? result with { Action = argument }
                    : throw new FormatException($"nothing may follow the action {argument}");
            }

            var (name, given) = argument.TrimStart('-').Split('=', 2) is [var left, var right] ? (left, right) : (argument.TrimStart('-'), null);
            result = name switch
            {
                "namespace" => result with { Namespace = Value() },
                "id" => result with { Id = Value() },
                "address" => result with { Address = Value() },
                "publish-binary" => result with { PublishBinary = Value() },
                "bundle" => result with { Bundle = Value() },
                "socket" => result with { Socket = Value() },
                "debug" => result with { Debug = Truth() },
                "v" => result with { Version = Truth() },
                "info" => result with { Info = Truth() },
                _ => throw new FormatException($"flag provided but not defined: -{name}"),
            };

            string Value() => given ?? (++i < arguments.Count ? arguments[i] : throw new FormatException($"flag needs an argument: -{name}"));

            bool Truth() => given switch
            {
                null or "true" or "1" or "t" or "T" or "TRUE" or "True" => true,
                "false" or "0" or "f" or "F" or "FALSE" or "False" => false,
                _ => throw new FormatException($"invalid boolean value \"{given}\" for -{name}"),
            };
        }

        return result;
    }
}
