using Containerd;
using Shim.Interop;
using Shim.Loops;
using Shim.Rootfs;
using Shim.Runtime;

namespace Shim.Tasks;

/// <content>The end of a container.</content>
internal sealed partial class Container
{
    // From SIGKILL to the exit event. Only a process in an uninterruptible sleep takes long.
    private static readonly TimeSpan s_killLimit = TimeSpan.FromSeconds(15);

    /// <summary>
    /// Kills what still runs, waits for it, removes the container from the runtime and from the kernel. One deletion at a time, which
    /// every caller joins; giving up waiting does not stop it; after a failure it can be asked for again. Null for one that was to be read back
    /// from a checkpoint and never was.
    /// </summary>
    internal async Task<ExitRecord?> DeleteAsync(CancellationToken cancellationToken)
    {
        Task deletion;
        lock (_lock)
        {
            if (_state == InitState.Deleted)
            {
                throw TaskException.NotFound($"container {Id} is deleted");
            }

            if (_deletion is null or { IsFaulted: true } or { IsCanceled: true })
            {
                _deletion = Task.Run(RemoveAsync, CancellationToken.None);
            }

            deletion = _deletion;
        }

        await deletion.WaitAsync(cancellationToken).ConfigureAwait(false);
        return _init.Exit;
    }

    private async Task RemoveAsync()
    {
        if (await TryRemoveUnrestoredAsync().ConfigureAwait(false))
        {
            return;
        }

        await EndInitAsync().ConfigureAwait(false);

        // A runtime that hangs in another verb has nothing to do any more, and we would wait for its turn.
        await _abandoned.CancelAsync().ConfigureAwait(false);
        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, CancellationToken.None).ConfigureAwait(false);
        await RemoveInTurnAsync().ConfigureAwait(false);
    }

    /// <summary>One that waits for its start has nothing to be ended; if it is being started right now, it has when that is over.</summary>
    private async Task<bool> TryRemoveUnrestoredAsync()
    {
        if (State != InitState.Restorable)
        {
            return false;
        }

        using var turn = await _verbs.EnterAsync(exclusive: true, s_turnLimit, CancellationToken.None).ConfigureAwait(false);
        if (State != InitState.Restorable)
        {
            return false;
        }

        await RemoveInTurnAsync().ConfigureAwait(false);
        _init.Abandon(TaskException.NotFound($"container {Id} was deleted before it was restored"));
        return true;
    }

    private async Task RemoveInTurnAsync()
    {
        // Also what an init without a pid namespace of its own left behind.
        KillRemaining();
        try
        {
            await _runtime.RunAsync(RuntimeCommand.Delete(Id)).ConfigureAwait(false);
        }
        catch (TaskException e) when (e.Kind == ErrorKind.NotFound)
        {
            // Somebody has removed it behind our back, which is what we wanted.
        }

        if (HasRootfs)
        {
            RootfsMounts.UnmountAll(RootfsOf(_bundle));
        }

        await DrainAllAsync().ConfigureAwait(false);
        List<ManagedProcess> processes;
        Task journaled;
        lock (_lock)
        {
            // A named one whose pid was given again is only found by its name.
            processes = [.. _execs.Values.Concat(_named.Values.Select(named => named.Process).OfType<ManagedProcess>()).Distinct(), _init];
            foreach (var named in _named.Values)
            {
                named.Abandon(TaskException.NotFound($"container {Id} was deleted"));
            }

            foreach (var process in processes.Where(process => !process.IsInit))
            {
                _ = Forget_NeedsLock(process);
            }

            _state = InitStates.Next(_state, InitEvent.Delete, Id);
            journaled = Append(TaskEventType.Delete, _init);
        }

        _oom.Dispose();
        DropHeldSignals();
        foreach (var process in processes)
        {
            process.Dispose();
        }

        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    private async Task EndInitAsync()
    {
        if (State != InitState.Stopped)
        {
            _ = _init.Identity?.Signal(Libc.SIGKILL);
            if (_cgroup is { IsFrozen: true })
            {
                KillRemaining();
            }
        }

        try
        {
            await _init.Exited.WithinAsync(s_killLimit).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw TaskException.Timeout($"container {Id}: process {_init.Pid} did not end within {s_killLimit.TotalSeconds:0} s after SIGKILL");
        }
    }

    private async Task DrainAllAsync()
    {
        List<Task> draining;
        lock (_lock)
        {
            draining = [.. _execs.Values.Select(Drain), Drain(_init)];
        }

        await Task.WhenAll(draining).ConfigureAwait(false);

        Task Drain(ManagedProcess process) => process.Streams.DrainAsync(_services.DrainLimit, CancellationToken.None);
    }
}
