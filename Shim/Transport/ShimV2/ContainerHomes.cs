using Containerd;
using Shim.Processes;
using Shim.Runtime;
using Shim.Stdio;
using Shim.Tasks;

namespace Shim.Transport.ShimV2;

/// <summary>What the containers of a shim of containerd's stand on: the processes and streams of the shim, and each its own bundle.</summary>
/// <param name="reaper">Starts and collects processes.</param>
/// <param name="streams">Moves bytes.</param>
/// <param name="log">Tells an operator.</param>
/// <param name="nameSpace">containerd's namespace, which the runtime's state is kept apart by.</param>
internal sealed class ContainerHomes(Reaper reaper, StreamServices streams, TaskLog log, string nameSpace)
{
    private const string JournalName = "journal";

    // containerd's own shim waits as long.
    private static readonly TimeSpan s_drainLimit = TimeSpan.FromSeconds(10);

    /// <summary>The journal of a container, for whoever finds its bundle.</summary>
    internal static string JournalOf(string bundle) => Path.Combine(bundle, JournalName);

    /// <summary>Opens what a new container in <paramref name="bundle"/> stands on, and leaves there what is needed to remove it without us.</summary>
    internal ShimServices Open(string bundle, RuntimeOptions options)
    {
        if (!Path.IsPathFullyQualified(bundle) || bundle.Contains('\0') || !Directory.Exists(bundle))
        {
            throw TaskException.Invalid($"the bundle \"{bundle}\" is not an existing directory with an absolute path");
        }

        options.Write(bundle);
        return new ShimServices(
            reaper,
            streams,
            Journal.Open(JournalOf(bundle), log),
            log,
            bundle,
            options.Binary,
            Path.Combine(options.Root, nameSpace))
        {
            DrainLimit = s_drainLimit,
            SystemdCgroup = options.SystemdCgroup,
        };
    }
}
