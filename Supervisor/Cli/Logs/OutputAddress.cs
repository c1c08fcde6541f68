using System.Globalization;
using Shim.Interop;

namespace Supervisor.Cli.Logs;

/// <summary>Where the bytes of an output are, as far as somebody who wants to read them later is concerned.</summary>
internal enum OutputKind
{
    /// <summary>Nowhere: they are dropped.</summary>
    None,

    /// <summary>In a plain file.</summary>
    File,

    /// <summary>In a log of records.</summary>
    Log,

    /// <summary>With whoever reads a FIFO.</summary>
    Fifo,

    /// <summary>With a logger.</summary>
    Logger,
}

/// <summary>How the records of a log look.</summary>
internal enum RecordFormat
{
    Cri,
    DockerJson,
}

/// <summary>An output address of a container, understood for reading.</summary>
internal sealed record OutputAddress(OutputKind Kind, string Path, RecordFormat Format = RecordFormat.Cri)
{
    /// <summary>Understands an address that a shim has accepted, or will refuse.</summary>
    internal static OutputAddress Parse(string address)
    {
        if (address.Length == 0 || address == "/dev/null")
        {
            return new OutputAddress(OutputKind.None, "/dev/null");
        }

        var separator = address.IndexOf("://", StringComparison.Ordinal);
        if (address[0] == '/' || separator < 0)
        {
            return new OutputAddress(Libc.KindOf(address) == FileKind.Fifo ? OutputKind.Fifo : OutputKind.File, address);
        }

        var rest = address[(separator + 3)..];
        var query = rest.IndexOf('?', StringComparison.Ordinal);
        var path = Uri.UnescapeDataString(query < 0 ? rest : rest[..query]);
        return address[..separator] switch
        {
            "file" => new OutputAddress(OutputKind.File, path),
            "log" => new OutputAddress(OutputKind.Log, path, FormatOf(query < 0 ? "" : rest[(query + 1)..])),
            "fifo" => new OutputAddress(OutputKind.Fifo, path),
            _ => new OutputAddress(OutputKind.Logger, path),
        };
    }

    /// <summary>An address with a scheme: the path percent-encoded where it must be, and the options that have a value.</summary>
    internal static string Make(string scheme, string path, params (string Name, string? Value)[] options)
    {
        var query = string.Join('&', options.Where(option => option.Value is not null).Select(option => string.Create(CultureInfo.InvariantCulture, $"{option.Name}={option.Value}")));
        return $"{scheme}://{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}{(query.Length > 0 ? $"?{query}" : "")}";
    }

    private static RecordFormat FormatOf(string query) =>
        query.Split('&').Select(Uri.UnescapeDataString).Contains("format=docker-json") ? RecordFormat.DockerJson : RecordFormat.Cri;
}
