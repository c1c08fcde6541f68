using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>What tests need of the machine. What is missing skips a test on a desk and fails it on the build server (CI=true).</summary>
public static class Machine
{
    private static readonly Lazy<string?> s_containerTrouble = new(FindContainerTrouble);

    /// <summary>The real runtime, or null where there is none.</summary>
    public static string? Runc { get; } = FindInPath("runc");

    /// <summary>Whether the cgroup controllers are mounted the old way, one hierarchy each.</summary>
    public static bool CgroupV1 { get; } = !File.Exists("/sys/fs/cgroup/cgroup.controllers");

    /// <summary>
    /// Whether everybody who holds a pidfd learns how a process ended, and not its parent alone (Linux 6.15 and later).
    /// </summary>
    public static bool PidFdsTellStatus { get; } = Environment.OSVersion.Version >= new Version(6, 15);

    /// <summary>Whether this is the machine of scripts/test-vm.sh, whose kernel's own settings a test may change.</summary>
    public static bool IsVirtual { get; } = Environment.GetEnvironmentVariable("SHIM_TEST_VM") == "1";

    /// <summary>Skips or fails the test unless real containers can run here.</summary>
    public static void RequireContainers() => Require(s_containerTrouble.Value is null, s_containerTrouble.Value ?? string.Empty);

    /// <summary>Skips or fails the test unless a program is in the path.</summary>
    public static void RequireProgram(string name) => Require(FindInPath(name) is not null, $"{name} is not installed (scripts/test.sh installs it)");

    /// <summary>Skips the test when a need is not met; fails it on the build server.</summary>
    public static void Require(bool met, string otherwise)
    {
        if (met)
        {
            return;
        }

        if (Environment.GetEnvironmentVariable("CI") == "true")
        {
            Assert.Fail(otherwise);
        }

        Assert.Ignore(otherwise);
    }

    /// <summary>The full path of a program, or null.</summary>
    public static string? FindInPath(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Concat(["/usr/sbin", "/sbin"])
            .Select(directory => Path.Combine(directory, name))
            .FirstOrDefault(File.Exists);

    private static string? FindContainerTrouble()
    {
        if (!Environment.IsPrivilegedProcess)
        {
            return "containers need root";
        }

        if (Runc is null)
        {
            return "runc is not installed (scripts/test.sh installs it)";
        }

        if (!File.Exists(BusyboxRootfs.Busybox))
        {
            return "busybox-static is not installed (scripts/test.sh installs it)";
        }

        if (!Directory.Exists(CgroupV1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup"))
        {
            return "no cgroup with a memory controller is mounted below /sys/fs/cgroup";
        }

        var missing = new[] { "supervisor", "shim" }.Where(name => !File.Exists(Path.Combine(TestRun.Binaries, name))).ToList();
        return missing.Count == 0 ? null : $"{string.Join(" and ", missing)} not in {TestRun.Binaries} (scripts/build.sh builds them)";
    }
}
