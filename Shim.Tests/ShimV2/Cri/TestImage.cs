using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using Shim.Tests.Support;

namespace Shim.Tests.ShimV2.Cri;

/// <summary>An image with busybox, as an archive that containerd imports: no registry is needed. It serves as the pause image too.</summary>
internal static class TestImage
{
    /// <summary>Its name.</summary>
    internal const string Name = "localhost/shim-tests/busybox:1";

    /// <summary>Writes the archive.</summary>
    internal static void Write(string path)
    {
        using var layer = new MemoryStream();
        TarFile.CreateFromDirectory(BusyboxRootfs.Path, layer, includeBaseDirectory: false);
        var bytes = layer.ToArray();
        var config = $$$"""
            {"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Entrypoint":["/bin/sleep","1000000"]},
             "rootfs":{"type":"layers","diff_ids":["sha256:{{{Convert.ToHexStringLower(SHA256.HashData(bytes))}}}"]}}
            """;
        using var archive = new TarWriter(File.Create(path));
        Add(archive, "layer.tar", bytes);
        Add(archive, "config.json", Encoding.UTF8.GetBytes(config));
        Add(archive, "manifest.json", Encoding.UTF8.GetBytes($$"""[{"Config":"config.json","RepoTags":["{{Name}}"],"Layers":["layer.tar"]}]"""));
    }

    private static void Add(TarWriter archive, string name, byte[] content)
    {
        using var stream = new MemoryStream(content);
        archive.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name) { DataStream = stream });
    }
}
