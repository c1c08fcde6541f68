using NUnit.Framework;

namespace Shim.Tests.Cgroups;

/// <summary>A directory that looks like a machine's /proc and /sys as far as cgroups go.</summary>
internal sealed class TestMachine : IDisposable
{
    internal string Root { get; } = Directory.CreateTempSubdirectory("shim-cgroups-").FullName;

    internal string Path(string path) => Root + path;

    internal void Write(string path, string text)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path(path))!);
        File.WriteAllText(Path(path), text);
    }

    internal string Read(string path) => File.ReadAllText(Path(path));

    /// <summary>A machine with cgroup v2 only, where we sit in a service and process 42 in <paramref name="cgroup"/>.</summary>
    internal static TestMachine V2(string cgroup)
    {
        var machine = new TestMachine();
        machine.Write("/proc/self/mountinfo", """
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
            30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate

            """);
        machine.Write("/proc/self/cgroup", "0::/system.slice/supervisor.service\n");
        machine.Write("/proc/42/cgroup", $"0::{cgroup}\n");
        Assert.That(Directory.Exists(machine.Root), Is.True);
        return machine;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
