using System.Text.Json.Nodes;

namespace Supervisor.Cli.Bundles;

/// <summary>
/// The config.json for a bare root directory: what people know from `docker run`. Own namespaces (the network has a loopback device
/// only), Docker's capabilities, masked and read-only paths; no privileges are gained by set-uid programs. Rlimits are left as they
/// are: raising them takes a privilege that the supervisor may not have.
/// </summary>
internal static class DefaultConfig
{
    private const int LongestHostName = 63;
    private const string DefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    private static readonly string[] s_capabilities =
    [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
    ];

    private static readonly string[] s_maskedPaths =
    [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ];

    private static readonly string[] s_readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    /// <summary>The configuration of a container <paramref name="id"/> on <paramref name="rootfs"/>, an absolute path.</summary>
    internal static JsonObject Create(string id, string rootfs, ProcessChoice choice, ContainerUser user, bool unifiedCgroups) => new()
    {
        ["ociVersion"] = "1.0.2",
        ["process"] = Process(choice, user),
        ["root"] = new JsonObject { ["path"] = rootfs, ["readonly"] = false },
        ["hostname"] = id.Length > LongestHostName ? id[..LongestHostName] : id,
        ["mounts"] = Mounts(),
        ["linux"] = Linux(unifiedCgroups),
    };

    /// <summary>Whether this machine has the unified cgroup hierarchy (v2) with its controllers.</summary>
    internal static bool HasUnifiedCgroups() => File.Exists("/sys/fs/cgroup/cgroup.controllers");

    private static JsonObject Process(ProcessChoice choice, ContainerUser user)
    {
        var environment = new List<string> { DefaultPath };
        if (choice.Terminal)
        {
            environment.Add("TERM=xterm");
        }

        return new JsonObject
        {
            ["terminal"] = choice.Terminal,
            ["user"] = user.ToJson(),
            ["args"] = Strings(choice.Command.Count > 0 ? choice.Command : ["sh"]),
            ["env"] = Strings(ConfigOverrides.MergeEnvironment(environment, choice.Environment)),
            ["cwd"] = choice.WorkingDirectory ?? "/",
            ["capabilities"] = new JsonObject
            {
                ["bounding"] = Strings(s_capabilities),
                ["effective"] = Strings(s_capabilities),
                ["permitted"] = Strings(s_capabilities),
            },
            ["noNewPrivileges"] = true,
        };
    }

    private static JsonArray Mounts() => new(
        Mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        Mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        Mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        Mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        Mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        Mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"));

    private static JsonObject Mount(string destination, string type, string source, params string[] options) => new()
    {
        ["destination"] = destination,
        ["type"] = type,
        ["source"] = source,
        ["options"] = Strings(options),
    };

    private static JsonObject Linux(bool unifiedCgroups)
    {
        string[] namespaces = unifiedCgroups ? ["pid", "ipc", "uts", "mount", "network", "cgroup"] : ["pid", "ipc", "uts", "mount", "network"];
        return new JsonObject
        {
            ["namespaces"] = new JsonArray([.. namespaces.Select(type => new JsonObject { ["type"] = type })]),
            // Deny all: the runtime itself adds null, zero, full, random, urandom, tty, ptmx and the terminals.
            ["resources"] = new JsonObject { ["devices"] = new JsonArray(new JsonObject { ["allow"] = false, ["access"] = "rwm" }) },
            ["maskedPaths"] = Strings(s_maskedPaths),
            ["readonlyPaths"] = Strings(s_readonlyPaths),
        };
    }

    /// <summary>A JSON array of strings.</summary>
    internal static JsonArray Strings(IEnumerable<string> values) => new([.. values.Select(value => (JsonNode)value)]);
}
