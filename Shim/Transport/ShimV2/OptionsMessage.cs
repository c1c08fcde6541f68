using System.Globalization;
using Containerd;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Runtime;
using RuncOptions = Containerd.Runc.V1.Options;
using RuntimeConfig = Containerd.RuntimeOptions.V1.Options;

namespace Shim.Transport.ShimV2;

/// <summary>The runtime's options as they come with a request.</summary>
internal static class OptionsMessage
{
    private const int MaxConfigBytes = 64 * 1024;

    /// <summary>
    /// Understands the options of a request: runc's own message, or the general one, which brings the section of containerd's configuration as TOML. No
    /// options are all defaults. InvalidArgument for what is neither.
    /// </summary>
    internal static RuntimeOptions From(Any? options)
    {
        if (options is null || options.TypeUrl.Length == 0)
        {
            return new RuntimeOptions();
        }

        try
        {
            return TaskMessages.TypeName(options.TypeUrl) switch
            {
                "containerd.runc.v1.Options" => From(RuncOptions.Parser.ParseFrom(options.Value)),
                "runtimeoptions.v1.Options" or "containerd.runtimeoptions.v1.Options" => From(RuntimeConfig.Parser.ParseFrom(options.Value)),
                _ => throw TaskException.Invalid($"cannot use options of the type {options.TypeUrl}: known are containerd.runc.v1.Options and runtimeoptions.v1.Options"),
            };
        }
        catch (InvalidProtocolBufferException e)
        {
            throw TaskException.Invalid($"cannot read the options {options.TypeUrl}: {e.Message}", e);
        }
    }

    private static RuntimeOptions From(RuncOptions options)
    {
        var defaults = new RuntimeOptions();
        return new RuntimeOptions
        {
            Binary = options.BinaryName is { Length: > 0 } binary ? binary : defaults.Binary,
            Root = options.Root is { Length: > 0 } root ? root : defaults.Root,
            SystemdCgroup = options.SystemdCgroup,
            NoPivotRoot = options.NoPivotRoot,
            NoNewKeyring = options.NoNewKeyring,
            ShimCgroup = options.ShimCgroup,
            StreamOwner = options.IoUid != 0 || options.IoGid != 0 ? (options.IoUid, options.IoGid) : null,
            CriuImagePath = options.CriuImagePath,
            CriuWorkPath = options.CriuWorkPath,
        };
    }

    private static RuntimeOptions From(RuntimeConfig config)
    {
        if (config.ConfigPath.Length == 0)
        {
            return From(FromToml(config.ConfigBody.ToStringUtf8()));
        }

        try
        {
            return new FileInfo(config.ConfigPath) is { Exists: true, Length: <= MaxConfigBytes } file
                ? From(FromToml(File.ReadAllText(file.FullName)))
                : throw TaskException.Invalid($"the runtime's configuration {config.ConfigPath} is not a file of at most {MaxConfigBytes} bytes");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw TaskException.Invalid($"cannot read the runtime's configuration {config.ConfigPath}: {e.Message}", e);
        }
    }

    /// <summary>The flat part of TOML that a table of options needs: a key, an equals sign, a string, truth value or number in each line.</summary>
    private static RuncOptions FromToml(string text)
    {
        var options = new RuncOptions();
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            if (line[0] is '#' or '[' || line.Split('=', 2, StringSplitOptions.TrimEntries) is not [var key, var value])
            {
                continue;
            }

            switch (key.Trim('"').Replace("_", "", StringComparison.Ordinal).ToUpperInvariant())
            {
                case "BINARYNAME": options.BinaryName = Text(value); break;
                case "ROOT": options.Root = Text(value); break;
                case "SYSTEMDCGROUP": options.SystemdCgroup = Truth(value); break;
                case "NOPIVOTROOT": options.NoPivotRoot = Truth(value); break;
                case "NONEWKEYRING": options.NoNewKeyring = Truth(value); break;
                case "SHIMCGROUP": options.ShimCgroup = Text(value); break;
                case "IOUID": options.IoUid = Number(value); break;
                case "IOGID": options.IoGid = Number(value); break;
                case "CRIUIMAGEPATH": options.CriuImagePath = Text(value); break;
                case "CRIUWORKPATH": options.CriuWorkPath = Text(value); break;
                default: break;
            }
        }

        return options;

        static string Text(string value) =>
            value.Length > 1 && value[0] is '"' or '\'' && value.IndexOf(value[0], 1) is > 0 and var end ? value[1..end] : throw Bad(value);
        static string Bare(string value) => value.Split('#')[0].Trim();
        static bool Truth(string value) => Bare(value) switch { "true" => true, "false" => false, _ => throw Bad(value) };
        static uint Number(string value) => uint.TryParse(Bare(value), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw Bad(value);
        static TaskException Bad(string value) => TaskException.Invalid($"cannot use {value} in the runtime's configuration");
    }
}
