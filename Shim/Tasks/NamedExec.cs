using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>
/// A process that is added in two steps, as containerd does it: first it gets a name and a description, then it is started. Mutable members
/// are guarded by the container's lock.
/// </summary>
internal sealed class NamedExec(string id, ExecSpec spec, StreamAddresses addresses)
{
    private readonly TaskCompletionSource<ManagedProcess> _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ManagedProcess? _process;

    /// <summary>Its name, unique in the container while it is there.</summary>
    internal string Id { get; } = id;

    internal ExecSpec Spec { get; } = spec;

    internal StreamAddresses Addresses { get; } = addresses;

    /// <summary>Somebody is starting it right now.</summary>
    internal bool IsStarting { get; set; }

    /// <summary>The process; null until it has been started.</summary>
    internal ManagedProcess? Process
    {
        get => _process;
        set
        {
            _process = value;
            _started.TrySetResult(value!);
        }
    }

    /// <summary>Completes with the process once it is started; fails with NotFound when it is deleted before.</summary>
    internal Task<ManagedProcess> Started => _started.Task;

    /// <summary>It will never be started.</summary>
    internal void Abandon(Exception reason)
    {
        if (_started.TrySetException(reason))
        {
            // Seen, whether anybody waits or not.
            _ = _started.Task.Exception;
        }
    }
}
