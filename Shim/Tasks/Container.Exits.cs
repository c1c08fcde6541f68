using Shim.Loops;
using Shim.Processes;

namespace Shim.Tasks;

/// <content>
/// Exits. The reaper's one delivery task calls <see cref="InitEnded"/> and <see cref="ExecEnded"/> in the order in which the kernel
/// let the processes end, so nothing here waits.
/// </content>
internal sealed partial class Container
{
    // A runtime that is still adding a process when init has gone normally notices by itself.
    private static readonly TimeSpan s_execGrace = TimeSpan.FromSeconds(3);

    // How long the exit of init waits for exits of execs that the kernel still owes us (uninterruptible sleep).
    private static readonly TimeSpan s_exitGrace = TimeSpan.FromSeconds(5);

    private void ExecEnded(ManagedProcess process, ChildExit exit)
    {
        lock (_lock)
        {
            var record = Record_NeedsLock(exit);
            process.Exit = record;
            _execsRunning--;
            Publish_NeedsLock(process, record);
            PublishInitExit_NeedsLock();
            if (_execs.Count - _execsRunning > MaxEndedExecs)
            {
                var oldest = _execs.Values.Where(exec => exec.Exit is not null).MinBy(exec => exec.Exit!.Time)!;
                oldest.Deletion ??= ForgetAsync(oldest, drain: false);
            }
        }

        process.Streams.ProcessExited();
    }

    private void InitEnded(ChildExit exit)
    {
        bool held;
        lock (_lock)
        {
            _init.Exit = Record_NeedsLock(exit);

            // The state tells the truth at once; only the event waits for its turn.
            _state = InitStates.Next(_state, InitEvent.Exit, Id);
            PublishInitExit_NeedsLock();
            held = !_initExitPublished;
        }

        _init.Streams.ProcessExited();
        if (held || !_ownPidNamespace)
        {
            _ = Task.Run(EndOthersAsync);
        }
    }

    /// <summary>
    /// The init of a pid namespace takes all others with it; one without such a namespace does not, and a container without its init is
    /// over. Also bounds how long init's exit event waits for others.
    /// </summary>
    private async Task EndOthersAsync()
    {
        try
        {
            if (!_ownPidNamespace)
            {
                KillRemaining();
            }

            await UntilInitExitPublishedAsync(s_execGrace).ConfigureAwait(false);
            await _abandoned.CancelAsync().ConfigureAwait(false);
            await UntilInitExitPublishedAsync(s_exitGrace).ConfigureAwait(false);
            lock (_lock)
            {
                if (!_initExitPublished)
                {
                    _services.Log.Error($"the exit of container {Id} did not wait for {_execsRunning} running and {_execsStarting} starting processes");
                    _initExitPublished = true;
                    Publish_NeedsLock(_init, _init.Exit!);
                }
            }
        }
        catch (Exception e)
        {
            _services.Log.Error($"ending the processes of container {Id}: {e}");
        }
    }

    private async Task UntilInitExitPublishedAsync(TimeSpan limit)
    {
        try
        {
            await _init.Exited.WithinAsync(limit).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // The caller decides what then.
        }
    }

    private void PublishInitExit_NeedsLock()
    {
        if (_init.Exit is { } exit && !_initExitPublished && !_starting && _execsStarting == 0 && _execsRunning == 0)
        {
            _initExitPublished = true;
            Publish_NeedsLock(_init, exit);
        }
    }

    private void Publish_NeedsLock(ManagedProcess process, ExitRecord exit)
    {
        var journaled = Append(TaskEventType.Exit, process, exit);
        _services.Log.Debug($"process {process.Pid} of container {Id} has ended: status {exit.Status.Code}, {exit.Reason}");
        _ = CompleteAsync();

        async Task CompleteAsync()
        {
            await JournaledAsync(journaled).ConfigureAwait(false);
            process.CompleteExit(exit);
        }
    }

    /// <summary>
    /// The record of an exit; when the kernel has killed for want of memory since the last look, the event that says so comes first.
    /// The cgroup's counts are read here, at the exit, whether they are watched or not: the kernel has counted the kill before the victim could
    /// be collected.
    /// </summary>
    private ExitRecord Record_NeedsLock(ChildExit exit)
    {
        ReportOom_NeedsLock();
        return ExitRecord.From(exit, _oom.Claim(exit) ? _cgroup!.Name : null);
    }

    /// <summary>From now on OOM kills are reported when they happen, not only with the next exit. Best effort; a second call does nothing.</summary>
    private void WatchOom()
    {
        try
        {
            _oom.Watch(_services.Streams.Loop, () =>
            {
                lock (_lock)
                {
                    if (!_initExitPublished)
                    {
                        ReportOom_NeedsLock();
                    }
                }
            });
        }
        catch (Interop.NativeException e)
        {
            _services.Log.Error($"OOM kills of container {Id} will only be noticed when a process ends: {e.Message}");
        }
    }

    private void ReportOom_NeedsLock()
    {
        if (_oom.HasMore())
        {
            _ = Append(TaskEventType.Oom, _init);
        }
    }
}
