using System.Globalization;
using Containerd;
using Containerd.Shim.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Shim.Tasks;
using ShimContract = Containerd.Shim.V1.Shim;

namespace Shim.Transport.Grpc;

/// <summary>The private service on gRPC: translates, decides nothing. Its exceptions become statuses in the server.</summary>
/// <param name="tasks">The domain.</param>
/// <param name="info">What Info answers.</param>
/// <param name="shutdown">Ends this process after the answer.</param>
internal sealed class ShimGrpcService(TaskService tasks, InfoResponse info, Action shutdown) : ShimContract.ShimBase
{
    /// <summary>The trailer with the number of the newest event after a call that changed something.</summary>
    internal const string SequenceTrailer = "event-sequence";

    private static readonly Task<Empty> s_empty = Task.FromResult(new Empty());

    public override Task<CreateResponse> Create(CreateRequest request, ServerCallContext context) =>
        ChangeAsync(context, $"create {request.Id}", async () =>
        {
            var container = await tasks.CreateAsync(Messages.ToSpec(request)).ConfigureAwait(false);
            return new CreateResponse { Pid = (uint)container.InitPid, Process = Messages.ToMessage(container.Process(container.InitPid)) };
        });

    public override Task<Empty> Start(StartRequest request, ServerCallContext context) =>
        ChangeAsync(context, "start", async () =>
        {
            await tasks.Container.StartAsync(context.CancellationToken).ConfigureAwait(false);
            return new Empty();
        });

    public override Task<DeleteResponse> Delete(DeleteRequest request, ServerCallContext context) =>
        ChangeAsync(context, $"delete {request.Pid}", async () =>
        {
            var container = tasks.Container;
            var pid = ToPid(request.Pid);
            ExitRecord? exit;
            if (pid == 0 || pid == container.InitPid)
            {
                exit = await container.DeleteAsync(context.CancellationToken).ConfigureAwait(false);
            }
            else
            {
                exit = await container.DeleteExecAsync(pid, context.CancellationToken).ConfigureAwait(false);
            }

            return new DeleteResponse { ExitStatus = (uint)(exit?.Status.Code ?? 0), Exit = exit is null ? null : Messages.ToMessage(exit) };
        });

    public override Task<ExecResponse> Exec(ExecRequest request, ServerCallContext context) =>
        ChangeAsync(context, $"exec {Short(request.Args.Count > 0 ? request.Args[0] : "")}", async () =>
        {
            var container = tasks.Container;
            var process = await container.ExecAsync(Messages.ToSpec(request), Messages.ToAddresses(request), context.CancellationToken).ConfigureAwait(false);
            return new ExecResponse { Pid = (uint)process.Pid, Process = Messages.ToMessage(container.View(process)) };
        });

    public override Task<Empty> Pty(PtyRequest request, ServerCallContext context)
    {
        tasks.Container.Resize(ToPid(request.Pid), (int)Math.Min(request.Width, int.MaxValue), (int)Math.Min(request.Height, int.MaxValue));
        return s_empty;
    }

    public override async Task Events(EventsRequest request, IServerStreamWriter<Event> responseStream, ServerCallContext context)
    {
        var events = tasks.Services.Journal.ReadAsync((long)Math.Min(request.AfterSequence, long.MaxValue), !request.NoFollow, context.CancellationToken);
        await foreach (var what in events.ConfigureAwait(false))
        {
            await responseStream.WriteAsync(Messages.ToMessage(what), context.CancellationToken).ConfigureAwait(false);
        }
    }

    public override Task<StateResponse> State(StateRequest request, ServerCallContext context) => Task.FromResult(CurrentState());

    public override Task<Empty> Pause(PauseRequest request, ServerCallContext context) =>
        ChangeAsync(context, "pause", async () =>
        {
            await tasks.Container.PauseAsync(context.CancellationToken).ConfigureAwait(false);
            return new Empty();
        });

    public override Task<Empty> Resume(ResumeRequest request, ServerCallContext context) =>
        ChangeAsync(context, "resume", async () =>
        {
            await tasks.Container.ResumeAsync(context.CancellationToken).ConfigureAwait(false);
            return new Empty();
        });

    public override Task<Empty> Kill(KillRequest request, ServerCallContext context)
    {
        var signal = (int)Math.Min(request.Signal, int.MaxValue);
        if (request.All)
        {
            if (request.Pid != 0)
            {
                throw TaskException.Invalid("a signal goes to one process or to all: name a pid or ask for all, not both");
            }

            tasks.Container.SignalAll(signal);
        }
        else
        {
            tasks.Container.Signal(ToPid(request.Pid), signal);
        }

        return s_empty;
    }

    public override async Task<WaitResponse> Wait(WaitRequest request, ServerCallContext context)
    {
        var (pid, exit) = await tasks.Container.WaitAsync(ToPid(request.Pid), context.CancellationToken).ConfigureAwait(false);
        return new WaitResponse { Pid = (uint)pid, Exit = Messages.ToMessage(exit) };
    }

    public override Task<Empty> Update(UpdateRequest request, ServerCallContext context) =>
        ChangeAsync(context, "update", async () =>
        {
            await tasks.Container.UpdateAsync(request.Bundle, context.CancellationToken).ConfigureAwait(false);
            return new Empty();
        });

    public override Task<PidsResponse> Pids(PidsRequest request, ServerCallContext context)
    {
        var container = tasks.Container;
        var processes = request.Pid != 0 ? [container.Process(ToPid(request.Pid))]
            : request.ManagedOnly ? container.Managed()
            : container.Processes();
        return Task.FromResult(new PidsResponse { Processes = { processes.Select(Messages.ToMessage) } });
    }

    public override Task<StatsResponse> Stats(StatsRequest request, ServerCallContext context) =>
        Task.FromResult(new StatsResponse { Stats = Messages.ToMessage(tasks.Container.Stats()) });

    public override Task<Empty> CloseStdin(CloseStdinRequest request, ServerCallContext context)
    {
        tasks.Container.CloseStdin(ToPid(request.Pid));
        return s_empty;
    }

    public override async Task<Empty> Attach(AttachRequest request, ServerCallContext context)
    {
        await tasks.Container.AttachAsync(ToPid(request.Pid), request.Stdin, request.Stdout, request.Stderr).ConfigureAwait(false);
        return new Empty();
    }

    public override async Task<Empty> Detach(DetachRequest request, ServerCallContext context)
    {
        await tasks.Container.DetachAsync(ToPid(request.Pid), request.Stdout).ConfigureAwait(false);
        return new Empty();
    }

    public override async Task<Empty> ReopenLogs(ReopenLogsRequest request, ServerCallContext context)
    {
        _ = tasks.Container;
        await tasks.Services.Streams.Logs.ReopenAsync().ConfigureAwait(false);
        return new Empty();
    }

    public override Task<AdoptResponse> Adopt(AdoptRequest request, ServerCallContext context) =>
        ChangeAsync(context, $"adopt {request.Id}", async () =>
        {
            tasks.Services.Journal.ContinueAfter((long)Math.Min(request.AfterSequence, long.MaxValue / 2));
            var container = await tasks.AdoptAsync(request.Id, request.Bundle, request.Runtime).ConfigureAwait(false);
            return new AdoptResponse { Pid = (uint)container.InitPid };
        });

    public override Task<Empty> Collected(CollectedRequest request, ServerCallContext context)
    {
        tasks.Container.Collected(ToPid(request.Pid), (int)request.WaitStatus);
        return s_empty;
    }

    public override Task<Empty> Recorded(RecordedRequest request, ServerCallContext context)
    {
        tasks.Services.Journal.Recorded((long)Math.Min(request.Sequence, long.MaxValue));
        return s_empty;
    }

    public override Task<InfoResponse> Info(InfoRequest request, ServerCallContext context) => Task.FromResult(info);

    public override Task<DumpResponse> Dump(DumpRequest request, ServerCallContext context)
    {
        var services = tasks.Services;
        return Task.FromResult(new DumpResponse
        {
            State = CurrentState(),
            Operations =
            {
                services.Operations.Snapshot().Select(operation => new Operation { Name = operation.Name, Since = Timestamp.FromDateTimeOffset(operation.Since) }),
            },
            Gauges =
            {
                ["children_collected"] = services.Reaper.Collected,
                ["early_exits"] = services.Reaper.EarlyExits,
                ["events_queued"] = services.Journal.Queued,
                ["journal_bytes"] = services.Journal.Length,
                ["log_lines_dropped"] = services.Log.Dropped,
                ["descriptors"] = Directory.GetFileSystemEntries("/proc/self/fd").Length,
                ["threads"] = Directory.GetDirectories("/proc/self/task").Length,
                ["heap_bytes"] = GC.GetTotalMemory(false),
            },
        });
    }

    public override Task<Empty> Shutdown(ShutdownRequest request, ServerCallContext context)
    {
        tasks.Close();
        shutdown();
        return s_empty;
    }

    private StateResponse CurrentState()
    {
        var state = new StateResponse { Sequence = (ulong)tasks.Services.Journal.Sequence };
        if (tasks.Current is { } container)
        {
            state.Exists = true;
            state.Id = container.Id;
            state.Bundle = container.BundleDirectory;
            state.InitPid = (uint)container.InitPid;
            state.Status = Messages.ToState(container.State);
            state.Processes.AddRange(container.Managed().Select(process => new Process { Pid = (uint)process.Pid, State = Messages.ToState(process.State) }));
        }

        return state;
    }

    private async Task<T> ChangeAsync<T>(ServerCallContext context, string name, Func<Task<T>> call)
    {
        using var operation = tasks.Services.Operations.Begin(name);
        try
        {
            var answer = await call().ConfigureAwait(false);
            context.ResponseTrailers.Add(SequenceTrailer, tasks.Services.Journal.Sequence.ToString(CultureInfo.InvariantCulture));
            tasks.Services.Log.Debug($"{name}: done after {operation.Elapsed.TotalMilliseconds:0} ms");
            return answer;
        }
        catch (Exception e)
        {
            tasks.Services.Log.Debug($"{name}: failed after {operation.Elapsed.TotalMilliseconds:0} ms: {e.Message}");
            throw;
        }
    }

    private static string Short(string text) => text.Length <= 100 ? text : string.Concat(text.AsSpan(0, 100), "...");

    // Beyond int no process exists, so such a number names none; -1 and the like must never reach a system call.
    private static int ToPid(uint pid) => pid <= int.MaxValue ? (int)pid : throw TaskException.NotFound($"there is no process {pid}");
}
