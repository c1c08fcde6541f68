using Containerd;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <summary>What can be said of a process that goes by a name.</summary>
/// <param name="Pid">Host pid; 0 before its start.</param>
/// <param name="State">Its state in the container's words.</param>
/// <param name="Streams">Where its bytes go.</param>
/// <param name="Exit">How it ended, if it has.</param>
internal sealed record NamedView(int Pid, InitState State, StreamAddresses Streams, ExitRecord? Exit);

/// <content>
/// Processes by name, the init's being empty: what containerd's task API speaks of. Added in two steps, described and then started; the
/// verbs are those that processes have by their pids.
/// </content>
internal sealed partial class Container
{
    private const int MaxNameLength = 256;

    // Guarded by _lock.
    private readonly Dictionary<string, NamedExec> _named = new(StringComparer.Ordinal);

    /// <summary>Describes a process that is to be started later.</summary>
    internal async Task AddNamedAsync(string name, ReadOnlyMemory<byte> process, StreamAddresses addresses)
    {
        if (name.Length is 0 or > MaxNameLength)
        {
            throw TaskException.Invalid($"the id of a process has 1 to {MaxNameLength} characters");
        }

        var spec = new ExecSpec { Process = process, Terminal = addresses.Terminal };

        // What is wrong with it is said now, not at its start.
        _ = _bundle.ForExec(spec);
        Task journaled;
        lock (_lock)
        {
            RequireExec_NeedsLock();
            if (!_named.TryAdd(name, new NamedExec(name, spec, addresses)))
            {
                throw TaskException.AlreadyExists($"container {Id} already has a process {name}");
            }

            journaled = _services.Journal.Append(new TaskEvent(TaskEventType.ExecAdded, Id, 0, false) { ExecId = name });
        }

        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    /// <summary>Starts a process that was described before; returns its pid.</summary>
    internal async Task<int> StartNamedAsync(string name, CancellationToken cancellationToken)
    {
        NamedExec named;
        lock (_lock)
        {
            named = FindNamed_NeedsLock(name);
            if (named.Process is not null || named.IsStarting)
            {
                throw TaskException.Precondition($"cannot start process {name} of container {Id}: it was started before");
            }

            named.IsStarting = true;
        }

        try
        {
            using var turn = await _verbs.EnterAsync(exclusive: false, s_turnLimit, cancellationToken).ConfigureAwait(false);
            var process = await ConcludeAsync(InitEvent.Exec, () => AddInTurnAsync(named.Spec, named.Addresses, named)).ConfigureAwait(false);
            return process.Pid;
        }
        finally
        {
            lock (_lock)
            {
                named.IsStarting = false;
            }
        }
    }

    /// <summary>Forgets a process that has ended or was never started. FailedPrecondition while it runs.</summary>
    internal async Task<NamedView> DeleteNamedAsync(string name, CancellationToken cancellationToken)
    {
        NamedView last;
        Task deletion;
        lock (_lock)
        {
            var named = FindNamed_NeedsLock(name);
            if (named.IsStarting)
            {
                throw TaskException.Precondition($"cannot delete process {name} of container {Id}: it is being started");
            }

            if (named.Process is { } process)
            {
                deletion = Delete_NeedsLock(process);
                last = ViewNamed_NeedsLock(named);
            }
            else
            {
                _named.Remove(name);
                named.Abandon(TaskException.NotFound($"process {name} of container {Id} was deleted before it was started"));
                last = ViewNamed_NeedsLock(named);
                deletion = Task.CompletedTask;
            }
        }

        await deletion.WaitAsync(cancellationToken).ConfigureAwait(false);
        return last;
    }

    /// <summary>The process of that name; the init's is empty.</summary>
    internal NamedView ViewNamed(string name)
    {
        lock (_lock)
        {
            return name.Length == 0
                ? new NamedView(_init.Pid, _state, _init.Streams.Addresses, _init.Exit)
                : ViewNamed_NeedsLock(FindNamed_NeedsLock(name));
        }
    }

    /// <summary>The name of every started process that has one, by pid.</summary>
    internal IReadOnlyDictionary<int, string> NamesByPid()
    {
        lock (_lock)
        {
            return _named.Values.Where(named => named.Process is { Exit: null }).ToDictionary(named => named.Process!.Pid, named => named.Id);
        }
    }

    /// <summary>Waits for the end of a process by its name; before its start that means for both.</summary>
    internal async Task<(int Pid, ExitRecord Exit)> WaitNamedAsync(string name, CancellationToken cancellationToken)
    {
        if (name.Length == 0)
        {
            return (_init.Pid, await _init.Exited.WaitAsync(cancellationToken).ConfigureAwait(false));
        }

        NamedExec named;
        lock (_lock)
        {
            named = FindNamed_NeedsLock(name);
        }

        var process = await named.Started.WaitAsync(cancellationToken).ConfigureAwait(false);
        return (process.Pid, await process.Exited.WaitAsync(cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Signals a process by its name. NotFound when it has ended.</summary>
    internal void SignalNamed(string name, int signal)
    {
        if (name.Length == 0)
        {
            Signal(0, signal);
            return;
        }

        CheckSignal(signal);
        ManagedProcess process;
        lock (_lock)
        {
            process = FindNamed_NeedsLock(name).Process
                ?? throw TaskException.Precondition($"process {name} of container {Id} was not started: process not created");
            if (process.Exit is not null)
            {
                throw TaskException.NotFound($"process {name} of container {Id}: process already finished");
            }
        }

        SignalManaged(process, signal);
    }

    /// <summary>
    /// Sets the size of the terminal of a process by its name. Nothing happens to one that has no terminal or was not started yet: clients of
    /// containerd ask without knowing.
    /// </summary>
    internal void ResizeNamed(string name, int width, int height)
    {
        ManagedProcess? process;
        lock (_lock)
        {
            process = name.Length == 0 ? _init : FindNamed_NeedsLock(name).Process;
            if (process?.Exit is not null)
            {
                throw TaskException.NotFound($"process {(name.Length == 0 ? Id : name)}: process already finished");
            }
        }

        if (process?.Streams.HasTerminal == true)
        {
            Resize(process, width, height);
        }
    }

    /// <summary>End of file on the stdin of a process by its name.</summary>
    internal void CloseStdinNamed(string name)
    {
        if (name.Length == 0)
        {
            _init.Streams.CloseStdin();
            return;
        }

        ManagedProcess? process;
        lock (_lock)
        {
            process = FindNamed_NeedsLock(name).Process;
        }

        process?.Streams.CloseStdin();
    }

    private NamedExec FindNamed_NeedsLock(string name) =>
        _named.GetValueOrDefault(name) ?? throw TaskException.NotFound($"process {name} does not exist in container {Id}: not found");

    private NamedView ViewNamed_NeedsLock(NamedExec named) => named.Process is { } process
        ? new NamedView(
            process.Pid,
            process.Exit is not null ? InitState.Stopped : _state == InitState.Paused ? InitState.Paused : InitState.Running,
            named.Addresses,
            process.Exit)
        : new NamedView(0, InitState.Created, named.Addresses, null);
}
