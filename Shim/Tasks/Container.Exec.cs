using System.Globalization;
using Containerd;
using Shim.Runtime;
using Shim.Stdio;

namespace Shim.Tasks;

/// <content>Processes that are added to a running container.</content>
internal sealed partial class Container
{
    /// <summary>
    /// Runs one more process in the container: one process of the runtime, and no state before running. Execs run side by side; the
    /// container's other verbs wait for them.
    /// </summary>
    internal async Task<ManagedProcess> ExecAsync(ExecSpec spec, StreamAddresses addresses, CancellationToken cancellationToken)
    {
        using var turn = await _verbs.EnterAsync(exclusive: false, s_turnLimit, cancellationToken).ConfigureAwait(false);
        return await ConcludeAsync(InitEvent.Exec, () => AddInTurnAsync(spec with { Terminal = addresses.Terminal }, addresses, null)).ConfigureAwait(false);
    }

    /// <summary>Forgets an ended exec. FailedPrecondition while it runs; NotFound when it is gone already.</summary>
    internal async Task<ExitRecord> DeleteExecAsync(int pid, CancellationToken cancellationToken)
    {
        ManagedProcess process;
        Task deletion;
        lock (_lock)
        {
            if (pid == 0 || pid == _init.Pid)
            {
                throw TaskException.Precondition($"process {_init.Pid} is the init of container {Id}: delete the container");
            }

            process = _execs.GetValueOrDefault(pid) ?? throw TaskException.NotFound($"container {Id} has no process {pid} that was started through the API");
            deletion = Delete_NeedsLock(process);
        }

        // Only this caller's waiting can be cancelled.
        await deletion.WaitAsync(cancellationToken).ConfigureAwait(false);
        return process.Exit!;
    }

    private void RequireExec_NeedsLock()
    {
        if (!(ExecBeforeStart && _state == InitState.Created))
        {
            _ = InitStates.Next(_state, InitEvent.Exec, Id);
        }
    }

    private async Task<ManagedProcess> AddInTurnAsync(ExecSpec spec, StreamAddresses addresses, NamedExec? named)
    {
        lock (_lock)
        {
            RequireExec_NeedsLock();

            // From here on the exit of init is held back until this one is known to run or to have failed.
            _execsStarting++;
        }

        try
        {
            return await AddAsync(spec, addresses, named).ConfigureAwait(false);
        }
        finally
        {
            lock (_lock)
            {
                _execsStarting--;
                PublishInitExit_NeedsLock();
            }
        }
    }

    private async Task<ManagedProcess> AddAsync(ExecSpec spec, StreamAddresses addresses, NamedExec? named)
    {
        var streams = ProcessStreams.Open(addresses, _services.Streams, Id);
        try
        {
            await streams.StartLoggersAsync(_abandoned.Token).ConfigureAwait(false);
            var (json, description) = _bundle.ForExec(spec with { ConsoleSize = streams.ConsoleSize });
            if ((StreamOwner ?? _bundle.HostIdentity(description.Uid, description.Gid)) is var (user, group))
            {
                streams.GiveTo(user, group);
            }

            using var processFile = Interop.Fd.Memory("process.json");
            RandomAccess.Write(processFile, json, 0);
            using var anticipation = _services.Reaper.Anticipate();
            var pid = await RunAsync(_services, _runtime, streams, anticipation, _services.NewFile("pid"), (pidFile, consoleSocket) =>
                RuntimeCommand.Exec(Id, OciRuntime.PathOf(processFile), pidFile, consoleSocket, Stdio(streams)), _abandoned.Token).ConfigureAwait(false);
            await ExecutedAsync(pid).ConfigureAwait(false);
            var process = new ManagedProcess(pid, false, description, streams) { StartedAt = DateTimeOffset.UtcNow, ExecId = named?.Id ?? "" };
            ManagedProcess? previous;
            Task journaled;
            lock (_lock)
            {
                // The kernel has given the pid of an ended exec again. Where the pid is its name, the old one has to go.
                previous = _execs.GetValueOrDefault(pid) is { ExecId: "" } nameless ? nameless : null;
                if (previous is not null)
                {
                    _ = Forget_NeedsLock(previous);
                }

                _execs[pid] = process;
                _execsRunning++;
                if (named is null)
                {
                    _ = Append(TaskEventType.ExecAdded, process);
                }
                else
                {
                    named.Process = process;
                }

                journaled = Append(TaskEventType.Start, process);
            }

            previous?.Dispose();

            // After the start event, so that an exit that already happened comes behind it.
            Adopt(process, anticipation, exit => ExecEnded(process, exit));
            await JournaledAsync(journaled).ConfigureAwait(false);
            return process;
        }
        catch
        {
            streams.Dispose();
            throw;
        }
    }

    private Task Delete_NeedsLock(ManagedProcess process)
    {
        if (ExecStates.TryNext(StateOf_NeedsLock(process), ExecEvent.Delete) is null)
        {
            var name = process.ExecId.Length > 0 ? process.ExecId : process.Pid.ToString(CultureInfo.InvariantCulture);
            throw TaskException.Precondition($"cannot delete process {name} of container {Id}: it is running");
        }

        return process.Deletion ??= ForgetAsync(process, drain: true);
    }

    private async Task ForgetAsync(ManagedProcess process, bool drain)
    {
        // Callers hold the lock when they begin a deletion; the rest must not happen under it.
        await Task.Yield();
        if (drain)
        {
            await process.Streams.DrainAsync(_services.DrainLimit, CancellationToken.None).ConfigureAwait(false);
        }

        Task journaled;
        lock (_lock)
        {
            journaled = Forget_NeedsLock(process);
        }

        process.Dispose();
        await JournaledAsync(journaled).ConfigureAwait(false);
    }

    private Task Forget_NeedsLock(ManagedProcess process)
    {
        if (process.Forgotten)
        {
            return Task.CompletedTask;
        }

        process.Forgotten = true;
        if (_execs.GetValueOrDefault(process.Pid) == process)
        {
            _execs.Remove(process.Pid);
        }

        if (_named.TryGetValue(process.ExecId, out var named) && named.Process == process)
        {
            _named.Remove(process.ExecId);
        }

        return Append(TaskEventType.Delete, process);
    }

    private static ExecState StateOf_NeedsLock(ManagedProcess process) => process.Exit is null ? ExecState.Running : ExecState.Stopped;
}
