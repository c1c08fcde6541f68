using Containerd.TaskApi.V2;
using Google.Protobuf;

namespace Shim.Transport.ShimV2;

/// <summary>A method of the task API, for one wire or another: one request, one answer.</summary>
/// <remarks>
/// Not generic, and not added through a generic interface: NativeAOT looks for the code of a virtual generic method at run time, with reflection, and keeps
/// what it found in every shim.
/// </remarks>
/// <param name="Name">Its name in the service.</param>
/// <param name="Parser">Reads its request.</param>
/// <param name="Answer">Does it. The message is one that <paramref name="Parser"/> has read.</param>
internal sealed record TaskMethod(string Name, MessageParser Parser, Func<IMessage, CancellationToken, Task<IMessage>> Answer);

/// <summary>The methods of the task API by their names. A test compares them with the service's description.</summary>
internal static class TaskMethods
{
    /// <summary>All of them.</summary>
    internal static IReadOnlyList<TaskMethod> Of(TaskApi api) =>
    [
        Now<StateRequest>("State", StateRequest.Parser, api.State),
        new("Create", CreateTaskRequest.Parser, async (request, _) => await api.CreateAsync((CreateTaskRequest)request).ConfigureAwait(false)),
        new("Start", StartRequest.Parser, async (request, token) => await api.StartAsync((StartRequest)request, token).ConfigureAwait(false)),
        new("Delete", DeleteRequest.Parser, async (request, token) => await api.DeleteAsync((DeleteRequest)request, token).ConfigureAwait(false)),
        Now<PidsRequest>("Pids", PidsRequest.Parser, api.Pids),
        new("Pause", PauseRequest.Parser, async (request, token) => await api.PauseAsync((PauseRequest)request, token).ConfigureAwait(false)),
        new("Resume", ResumeRequest.Parser, async (request, token) => await api.ResumeAsync((ResumeRequest)request, token).ConfigureAwait(false)),
        new("Checkpoint", CheckpointTaskRequest.Parser, async (request, token) =>
            await api.CheckpointAsync((CheckpointTaskRequest)request, token).ConfigureAwait(false)),
        Now<KillRequest>("Kill", KillRequest.Parser, api.Kill),
        new("Exec", ExecProcessRequest.Parser, async (request, _) => await api.ExecAsync((ExecProcessRequest)request).ConfigureAwait(false)),
        Now<ResizePtyRequest>("ResizePty", ResizePtyRequest.Parser, api.ResizePty),
        Now<CloseIORequest>("CloseIO", CloseIORequest.Parser, api.CloseIO),
        new("Update", UpdateTaskRequest.Parser, async (request, token) => await api.UpdateAsync((UpdateTaskRequest)request, token).ConfigureAwait(false)),
        new("Wait", WaitRequest.Parser, async (request, token) => await api.WaitAsync((WaitRequest)request, token).ConfigureAwait(false)),
        Now<StatsRequest>("Stats", StatsRequest.Parser, api.Stats),
        Now<ConnectRequest>("Connect", ConnectRequest.Parser, api.Connect),
        Now<ShutdownRequest>("Shutdown", ShutdownRequest.Parser, _ => api.Shutdown()),
    ];

    private static TaskMethod Now<TRequest>(string name, MessageParser parser, Func<TRequest, IMessage> answer)
        where TRequest : class, IMessage => new(name, parser, (request, _) => Task.FromResult(answer((TRequest)request)));
}
