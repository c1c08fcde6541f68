namespace Shim.Tests.Support;

/// <summary>
/// One run of the test program. All its files lie below <see cref="Root"/> and all its cgroups begin with
/// <see cref="CgroupPrefix"/>, names that nothing else on the machine contains: so leaks can be told from other people's things.
/// </summary>
public static class TestRun
{
    private static readonly string? s_given = Environment.GetEnvironmentVariable("SHIM_TEST_ROOT");
    private static readonly Lazy<string> s_root = new(CreateRoot);
    private static int s_names;

    /// <summary>The directory of this run; given by scripts/test.sh (which looks for leaks in it afterwards), else made here.</summary>
    public static string Root => s_root.Value;

    /// <summary>What the name of every cgroup of this run begins with.</summary>
    public static string CgroupPrefix => Path.GetFileName(Root);

    /// <summary>Where the sources lie: the directory of Shim.sln.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>Where scripts/build.sh puts the executables.</summary>
    public static string Binaries { get; } = Path.Combine(Repository, "out", "bin");

    /// <summary>A name that was not used before in this run, such as <c>exec12</c>.</summary>
    public static string NewName(string stem) => $"{stem}{Interlocked.Increment(ref s_names)}";

    /// <summary>A fresh directory below <see cref="Root"/>. Whoever asks for it removes it.</summary>
    public static string NewDirectory(string stem) => Directory.CreateDirectory(Path.Combine(Root, NewName(stem))).FullName;

    internal static void RemoveOwnRoot()
    {
        if (s_root.IsValueCreated && string.IsNullOrEmpty(s_given))
        {
            Directory.Delete(Root, recursive: true);
        }
    }

    private static string CreateRoot()
    {
        if (!string.IsNullOrEmpty(s_given))
        {
            return Directory.CreateDirectory(s_given).FullName;
        }

        var name = $"shim-tests-{Environment.ProcessId}-{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}";
        var root = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), name)).FullName;
        // Containers run as other users too, and their root file system lies in here.
        File.SetUnixFileMode(root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
            | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        return root;
    }

    private static string FindRepository()
    {
        for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "Shim.sln")))
            {
                return directory.FullName;
            }
        }

        throw new InvalidOperationException($"no Shim.sln above {AppContext.BaseDirectory}");
    }
}
