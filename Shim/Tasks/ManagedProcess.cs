using Shim.Processes;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>
/// A process that was started through this shim: the init or an exec. Mutable members are guarded by the container's lock.
/// </summary>
internal sealed class ManagedProcess(int pid, bool isInit, ProcessSpec spec, ProcessStreams streams) : IDisposable
{
    private readonly TaskCompletionSource<ExitRecord> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Host pid. After the end of the process only a name for it; 0 for an init that has not been read back from its checkpoint yet.</summary>
    internal int Pid { get; set; } = pid;

    internal bool IsInit { get; } = isInit;

    /// <summary>The name that its creator gave it; empty for the init, and where execs go by their pids.</summary>
    internal string ExecId { get; init; } = "";

    internal ProcessSpec Spec { get; } = spec;

    internal ProcessStreams Streams { get; } = streams;

    internal DateTimeOffset CreatedAt { get; init; } = DateTimeOffset.UtcNow;

    /// <summary>Null while the init waits for its start.</summary>
    internal DateTimeOffset? StartedAt { get; set; }

    /// <summary>The process for signals; null once it had gone before it could be opened.</summary>
    internal PidFd? Identity { get; set; }

    /// <summary>How it ended, from the moment the shim knows, which is before the exit event is out.</summary>
    internal ExitRecord? Exit { get; set; }

    /// <summary>The one deletion of this process, which later callers join.</summary>
    internal Task? Deletion { get; set; }

    /// <summary>The deletion event is out.</summary>
    internal bool Forgotten { get; set; }

    /// <summary>Completes once the exit event is on disk.</summary>
    internal Task<ExitRecord> Exited => _exited.Task;

    internal void CompleteExit(ExitRecord exit) => _exited.TrySetResult(exit);

    /// <summary>It will never run.</summary>
    internal void Abandon(Exception reason)
    {
        if (_exited.TrySetException(reason))
        {
            // Seen, whether anybody waits or not.
            _ = _exited.Task.Exception;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Streams.Dispose();
        Identity?.Dispose();
    }
}
