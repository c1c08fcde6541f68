using System.Diagnostics;

namespace Shim.Tests.Support;

/// <summary>
/// A root file system with busybox and nothing else, made once per run and shared by all containers: they mount it read-only,
/// with a tmpfs of their own on /tmp.
/// </summary>
public static class BusyboxRootfs
{
    /// <summary>The static busybox that Debian's busybox-static installs.</summary>
    public const string Busybox = "/bin/busybox";

    private static readonly Lazy<string> s_path = new(Build);

    /// <summary>The directory.</summary>
    public static string Path => s_path.Value;

    internal static void Remove()
    {
        if (s_path.IsValueCreated)
        {
            Directory.Delete(Path, recursive: true);
        }
    }

    private static string Build()
    {
        var root = System.IO.Path.Combine(TestRun.Root, "rootfs");
        foreach (var name in new[] { "bin", "dev", "etc", "home/user", "host", "proc", "root", "sys", "tmp" })
        {
            Directory.CreateDirectory(System.IO.Path.Combine(root, name));
        }

        var bin = System.IO.Path.Combine(root, "bin");
        File.Copy(Busybox, System.IO.Path.Combine(bin, "busybox"));
        foreach (var applet in Applets().Where(applet => applet != "busybox"))
        {
            File.CreateSymbolicLink(System.IO.Path.Combine(bin, applet), "busybox");
        }

        File.WriteAllText(System.IO.Path.Combine(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n");
        File.WriteAllText(System.IO.Path.Combine(root, "etc/group"), "root:x:0:\nuser:x:1000:\n");
        // A file that is there and is not executable.
        File.WriteAllText(System.IO.Path.Combine(root, "etc/not-executable"), "#!/bin/sh\n");
        return root;
    }

    private static string[] Applets()
    {
        using var list = Process.Start(new ProcessStartInfo(Busybox, ["--list"]) { RedirectStandardOutput = true })
            ?? throw new InvalidOperationException($"{Busybox} does not start");
        var names = list.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        list.WaitForExit();
        return names;
    }
}
