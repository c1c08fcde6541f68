using System.Text.Json;
using System.Text.Json.Nodes;

namespace Shim.Tests.Support;

/// <summary>
/// Writes bundles: a config.json like that of `runc spec`, around the shared busybox root (read-only, with a tmpfs on /tmp), in the
/// host's network, without rlimits (raising them needs a capability that build machines lack), in a cgroup of its own.
/// </summary>
public sealed class BundleBuilder
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private static readonly string[] s_capabilities =
    [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE",
    ];

    private readonly string _path;
    private readonly JsonObject _annotations = [];
    private readonly JsonArray _mounts = DefaultMounts();
    private readonly JsonObject _resources = [];
    private readonly List<string> _namespaces = ["pid", "ipc", "uts", "mount"];
    private readonly List<string> _env = ["PATH=/bin", "TERM=xterm"];
    private JsonArray _args = ["sleep", "1000000"];
    private string _cwd = "/";
    private string _rootfs = BusyboxRootfs.Path;
    private bool _readOnly = true;
    private JsonObject _user = new() { ["uid"] = 0, ["gid"] = 0 };
    private bool _terminal;
    private int? _oomScore;
    private JsonArray? _hooksAfterStart;

    /// <summary>Begins a bundle in a new directory below <paramref name="parent"/>.</summary>
    /// <param name="parent">Where the bundle's directory is made.</param>
    /// <param name="cgroupPrefix">What the cgroup's name begins with; the run's own prefix when left out.</param>
    public BundleBuilder(string parent, string? cgroupPrefix = null)
    {
        var name = TestRun.NewName("bundle");
        _path = Path.Combine(parent, name);
        Cgroup = $"{cgroupPrefix ?? TestRun.CgroupPrefix}-{name}";
    }

    /// <summary>The cgroup's name.</summary>
    public string Cgroup { get; private set; }

    /// <summary>What the init process runs; `sleep 1000000` when left out.</summary>
    public BundleBuilder Args(params string[] args)
    {
        _args = [.. args.Select(arg => (JsonNode)arg)];
        return this;
    }

    /// <summary>The init process runs a shell script.</summary>
    public BundleBuilder Script(string script) => Args("sh", "-c", script);

    /// <summary>One more environment variable, NAME=VALUE.</summary>
    public BundleBuilder Env(string assignment)
    {
        _env.Add(assignment);
        return this;
    }

    /// <summary>The working directory of the init process.</summary>
    public BundleBuilder Cwd(string directory)
    {
        _cwd = directory;
        return this;
    }

    /// <summary>Who the init process runs as; the root file system knows 0 and 1000.</summary>
    public BundleBuilder User(int uid, int gid, params int[] additionalGids)
    {
        _user = new JsonObject { ["uid"] = uid, ["gid"] = gid };
        if (additionalGids.Length > 0)
        {
            _user["additionalGids"] = new JsonArray([.. additionalGids.Select(gid => (JsonNode)gid)]);
        }

        return this;
    }

    /// <summary>The init process gets a terminal.</summary>
    public BundleBuilder Terminal(bool terminal = true)
    {
        _terminal = terminal;
        return this;
    }

    /// <summary>The oom_score_adj of its processes.</summary>
    public BundleBuilder OomScore(int score)
    {
        _oomScore = score;
        return this;
    }

    /// <summary>An annotation of the container.</summary>
    public BundleBuilder Annotation(string name, string value)
    {
        _annotations[name] = value;
        return this;
    }

    /// <summary>The owner by which containers can be listed.</summary>
    public BundleBuilder Owner(string owner) => Annotation("containerd.io/owner", owner);

    /// <summary>At most so much memory, in bytes, without swap on top where the machine can limit that.</summary>
    public BundleBuilder MemoryLimit(long bytes)
    {
        Resource("memory")["limit"] = bytes;
        return this;
    }

    /// <summary>At most so many processes.</summary>
    public BundleBuilder PidsLimit(long count)
    {
        Resource("pids")["limit"] = count;
        return this;
    }

    /// <summary>The share of the processors in relation to others.</summary>
    public BundleBuilder CpuShares(int shares)
    {
        Resource("cpu")["shares"] = shares;
        return this;
    }

    /// <summary>The container sees the machine's processes; its orphans are reparented to the shim.</summary>
    public BundleBuilder HostPid()
    {
        _namespaces.Remove("pid");
        return this;
    }

    /// <summary>A user namespace: its root is user 100000 of the machine.</summary>
    public BundleBuilder UserNamespace()
    {
        _namespaces.Add("user");
        return this;
    }

    /// <summary>A directory or file of the machine appears in the container, writable. /host is there to mount on.</summary>
    public BundleBuilder Bind(string source, string destination = "/host")
    {
        _mounts.Add((JsonNode)new JsonObject
        {
            ["destination"] = destination,
            ["type"] = "bind",
            ["source"] = source,
            ["options"] = new JsonArray("rbind", "rw"),
        });
        return this;
    }

    /// <summary>Another root file system than the shared one.</summary>
    public BundleBuilder Rootfs(string path, bool readOnly = false)
    {
        (_rootfs, _readOnly) = (path, readOnly);
        return this;
    }

    /// <summary>Another cgroup than the generated one; the test sees to it that nothing is left of it.</summary>
    public BundleBuilder InCgroup(string cgroup)
    {
        Cgroup = cgroup;
        return this;
    }

    /// <summary>A program of the machine that the runtime runs after the start (poststart hook).</summary>
    public BundleBuilder HookAfterStart(params string[] args)
    {
        _hooksAfterStart = [new JsonObject { ["path"] = args[0], ["args"] = new JsonArray([.. args.Select(arg => (JsonNode)arg)]) }];
        return this;
    }

    /// <summary>Writes the bundle.</summary>
    public Bundle Write()
    {
        Directory.CreateDirectory(_path);
        File.WriteAllText(Path.Combine(_path, "config.json"), Config().ToJsonString(s_indented));
        return new Bundle(_path, Cgroup);
    }

    private static JsonArray DefaultMounts() =>
    [
        Mount("/proc", "proc", "proc"),
        Mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        Mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        Mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        Mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777"),
    ];

    private static JsonObject Mount(string destination, string type, string source, params string[] options) => new()
    {
        ["destination"] = destination,
        ["type"] = type,
        ["source"] = source,
        ["options"] = new JsonArray([.. options.Select(option => (JsonNode)option)]),
    };

    private static JsonArray Mapping() => [new JsonObject { ["containerID"] = 0, ["hostID"] = 100_000, ["size"] = 65_536 }];

    private static JsonArray Capabilities() => [.. s_capabilities.Select(name => (JsonNode)name)];

    private JsonObject Resource(string name)
    {
        if (_resources[name] is not JsonObject resource)
        {
            _resources[name] = resource = [];
        }

        return resource;
    }

    private JsonObject Config()
    {
        var config = new JsonObject
        {
            ["ociVersion"] = "1.0.2",
            ["process"] = new JsonObject
            {
                ["terminal"] = _terminal,
                ["user"] = _user.DeepClone(),
                ["args"] = _args.DeepClone(),
                ["env"] = new JsonArray([.. _env.Select(assignment => (JsonNode)assignment)]),
                ["cwd"] = _cwd,
                ["noNewPrivileges"] = true,
                ["capabilities"] = new JsonObject
                {
                    ["bounding"] = Capabilities(),
                    ["effective"] = Capabilities(),
                    ["permitted"] = Capabilities(),
                },
            },
            ["root"] = new JsonObject { ["path"] = _rootfs, ["readonly"] = _readOnly },
            ["hostname"] = "test",
            ["mounts"] = _mounts.DeepClone(),
            ["annotations"] = _annotations.DeepClone(),
            ["linux"] = new JsonObject
            {
                ["cgroupsPath"] = $"/{Cgroup}",
                ["resources"] = _resources.DeepClone(),
                ["namespaces"] = new JsonArray([.. _namespaces.Select(type => (JsonNode)new JsonObject { ["type"] = type })]),
            },
        };
        if (_oomScore is { } score)
        {
            config["process"]!["oomScoreAdj"] = score;
        }

        if (_namespaces.Contains("user"))
        {
            config["linux"]!["uidMappings"] = Mapping();
            config["linux"]!["gidMappings"] = Mapping();
        }

        if (_hooksAfterStart is not null)
        {
            config["hooks"] = new JsonObject { ["poststart"] = _hooksAfterStart.DeepClone() };
        }

        return config;
    }
}
