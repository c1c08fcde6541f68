namespace Shim.Tests.Support;

/// <summary>A bundle on disk, written by <see cref="BundleBuilder"/>.</summary>
/// <param name="Path">The directory with config.json.</param>
/// <param name="Cgroup">The container's cgroup, below the mount point of every controller, without a leading slash.</param>
public sealed record Bundle(string Path, string Cgroup)
{
    /// <summary>The file that describes the container.</summary>
    public string Config => System.IO.Path.Combine(Path, "config.json");

    /// <summary>
    /// The container's cgroup file that holds one value: <paramref name="v1"/> of a controller where cgroups are mounted the
    /// old way, else <paramref name="v2"/>.
    /// </summary>
    public string CgroupFile(string controller, string v1, string v2) => Machine.CgroupV1
        ? System.IO.Path.Combine("/sys/fs/cgroup", controller, Cgroup, v1)
        : System.IO.Path.Combine("/sys/fs/cgroup", Cgroup, v2);
}
