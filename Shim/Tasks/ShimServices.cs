using Shim.Processes;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>What every container of this shim stands on.</summary>
/// <param name="Reaper">Starts and collects processes.</param>
/// <param name="Streams">Moves bytes where the kernel alone cannot.</param>
/// <param name="Journal">Keeps the events.</param>
/// <param name="Log">Tells an operator.</param>
/// <param name="StateDirectory">Ours, 0700: pid files, console sockets, the journal.</param>
/// <param name="DefaultRuntime">Name or path of the runtime when a request names none.</param>
/// <param name="RuntimeRoot">Where the runtime keeps its state; null is its own default.</param>
internal sealed record ShimServices(
    Reaper Reaper,
    StreamServices Streams,
    Journal Journal,
    TaskLog Log,
    string StateDirectory,
    string DefaultRuntime,
    string? RuntimeRoot)
{
    private int _files;

    /// <summary>What is under way.</summary>
    internal Operations Operations { get; } = new();

    /// <summary>How long a deletion waits for output that nobody has read yet.</summary>
    internal required TimeSpan DrainLimit { get; init; }

    /// <summary>Whether the runtime is to ask systemd for cgroups instead of making them.</summary>
    internal bool SystemdCgroup { get; init; }

    /// <summary>A file name in the state directory that no other call of the runtime uses.</summary>
    internal string NewFile(string suffix) => Path.Combine(StateDirectory, $"{Interlocked.Increment(ref _files)}.{suffix}");

    /// <summary>The runtime that a request asks for.</summary>
    internal OciRuntime Runtime(string name) => new(Reaper, name.Length > 0 ? name : DefaultRuntime, RuntimeRoot, SystemdCgroup);
}
