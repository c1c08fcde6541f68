using Containerd.TaskApi.V2;
using Google.Protobuf;

namespace Shim.Transport.ShimV2;

/// <summary>Takes the methods of a service, for one wire or another.</summary>
internal interface IMethodTable
{
    /// <summary>One request, one answer.</summary>
    public void Add<TRequest>(string method, MessageParser<TRequest> parser, Func<TRequest, CancellationToken, Task<IMessage>> handler)
        where TRequest : class, IMessage<TRequest>;
}

/// <summary>The methods of the task API by their names. A test compares them with the service's description.</summary>
internal static class TaskMethods
{
    /// <summary>Puts all of them into <paramref name="table"/>.</summary>
    internal static void AddTo(IMethodTable table, TaskApi api)
    {
        table.Add("State", StateRequest.Parser, Now<StateRequest>(api.State));
        table.Add("Create", CreateTaskRequest.Parser, async (request, _) => await api.CreateAsync(request).ConfigureAwait(false));
        table.Add("Start", StartRequest.Parser, async (request, token) => await api.StartAsync(request, token).ConfigureAwait(false));
        table.Add("Delete", DeleteRequest.Parser, async (request, token) => await api.DeleteAsync(request, token).ConfigureAwait(false));
        table.Add("Pids", PidsRequest.Parser, Now<PidsRequest>(api.Pids));
        table.Add("Pause", PauseRequest.Parser, async (request, token) => await api.PauseAsync(request, token).ConfigureAwait(false));
        table.Add("Resume", ResumeRequest.Parser, async (request, token) => await api.ResumeAsync(request, token).ConfigureAwait(false));
        table.Add("Checkpoint", CheckpointTaskRequest.Parser, async (request, token) => await api.CheckpointAsync(request, token).ConfigureAwait(false));
        table.Add("Kill", KillRequest.Parser, Now<KillRequest>(api.Kill));
        table.Add("Exec", ExecProcessRequest.Parser, async (request, _) => await api.ExecAsync(request).ConfigureAwait(false));
        table.Add("ResizePty", ResizePtyRequest.Parser, Now<ResizePtyRequest>(api.ResizePty));
        table.Add("CloseIO", CloseIORequest.Parser, Now<CloseIORequest>(api.CloseIO));
        table.Add("Update", UpdateTaskRequest.Parser, async (request, token) => await api.UpdateAsync(request, token).ConfigureAwait(false));
        table.Add("Wait", WaitRequest.Parser, async (request, token) => await api.WaitAsync(request, token).ConfigureAwait(false));
        table.Add("Stats", StatsRequest.Parser, Now<StatsRequest>(api.Stats));
        table.Add("Connect", ConnectRequest.Parser, Now<ConnectRequest>(api.Connect));
        table.Add("Shutdown", ShutdownRequest.Parser, Now<ShutdownRequest>(_ => api.Shutdown()));
    }

    private static Func<TRequest, CancellationToken, Task<IMessage>> Now<TRequest>(Func<TRequest, IMessage> answer) =>
        (request, _) => Task.FromResult(answer(request));
}
