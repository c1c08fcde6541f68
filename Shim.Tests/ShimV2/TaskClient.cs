using System.Text;
using Containerd;
using Containerd.TaskApi.V2;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using Shim.Bootstrap.ShimV2;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;
using StartRequest = Containerd.TaskApi.V2.StartRequest;

namespace Shim.Tests.ShimV2;

/// <summary>
/// A client of the task API, over any wire. The messages of both versions have the same bytes, so those of version 2 do for all. Calls are made by the names
/// in the service's description and not through the shim's own table.
/// </summary>
internal sealed class TaskClient : IAsyncDisposable
{
    private static readonly TimeSpan s_limit = Patience.Of(TimeSpan.FromSeconds(30));

    private readonly TtrpcClient? _ttrpc;
    private readonly GrpcChannel? _grpc;
    private readonly string _service;

    private TaskClient(TtrpcClient? ttrpc, GrpcChannel? grpc, string service) => (_ttrpc, _grpc, _service) = (ttrpc, grpc, service);

    /// <summary>Connects to the shim at an address as shims print it.</summary>
    internal static async Task<TaskClient> ConnectAsync(string address, TaskWire wire = TaskWire.TtrpcV2)
    {
        var path = ShimSocket.PathOf(address);
        var service = wire == TaskWire.TtrpcV2 ? "containerd.task.v2.Task" : "containerd.task.v3.Task";
        return wire == TaskWire.GrpcV3
            ? new TaskClient(null, UnixChannel.Open(path), service)
            : new TaskClient(TtrpcClient.Connect(path), null, service);
    }

    internal Task<StateResponse> StateAsync(string id, string exec = "") => CallAsync("State", new StateRequest { Id = id, ExecId = exec }, StateResponse.Parser);

    internal async Task<int> CreateAsync(CreateTaskRequest request) => (int)(await CallAsync("Create", request, CreateTaskResponse.Parser)).Pid;

    internal async Task<int> StartAsync(string id, string exec = "") =>
        (int)(await CallAsync("Start", new StartRequest { Id = id, ExecId = exec }, StartResponse.Parser)).Pid;

    internal Task<DeleteResponse> DeleteAsync(string id, string exec = "") => CallAsync("Delete", new DeleteRequest { Id = id, ExecId = exec }, DeleteResponse.Parser);

    internal Task<PidsResponse> PidsAsync(string id) => CallAsync("Pids", new PidsRequest { Id = id }, PidsResponse.Parser);

    internal Task PauseAsync(string id) => CallAsync("Pause", new PauseRequest { Id = id }, Empty.Parser);

    internal Task ResumeAsync(string id) => CallAsync("Resume", new ResumeRequest { Id = id }, Empty.Parser);

    internal Task CheckpointAsync(string id, string path) => CallAsync("Checkpoint", new CheckpointTaskRequest { Id = id, Path = path }, Empty.Parser);

    internal Task KillAsync(string id, uint signal, string exec = "", bool all = false) =>
        CallAsync("Kill", new KillRequest { Id = id, ExecId = exec, Signal = signal, All = all }, Empty.Parser);

    internal Task ExecAsync(ExecProcessRequest request) => CallAsync("Exec", request, Empty.Parser);

    /// <summary>Adds a process that runs a shell script.</summary>
    internal Task ExecAsync(string id, string exec, string script, string stdin = "", string stdout = "", string stderr = "", bool terminal = false) =>
        ExecAsync(new ExecProcessRequest
        {
            Id = id, ExecId = exec, Spec = Shell(script, terminal), Stdin = stdin, Stdout = stdout, Stderr = stderr, Terminal = terminal,
        });

    internal Task ResizeAsync(string id, string exec, uint width, uint height) =>
        CallAsync("ResizePty", new ResizePtyRequest { Id = id, ExecId = exec, Width = width, Height = height }, Empty.Parser);

    internal Task CloseStdinAsync(string id, string exec = "") => CallAsync("CloseIO", new CloseIORequest { Id = id, ExecId = exec, Stdin = true }, Empty.Parser);

    internal Task UpdateAsync(string id, string resources) => CallAsync(
        "Update",
        new UpdateTaskRequest
        {
            Id = id,
            Resources = new Any { TypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", Value = ByteString.CopyFromUtf8(resources) },
        },
        Empty.Parser);

    internal Task<WaitResponse> WaitAsync(string id, string exec = "") => CallAsync("Wait", new WaitRequest { Id = id, ExecId = exec }, WaitResponse.Parser);

    internal async Task<Any> StatsAsync(string id) => (await CallAsync("Stats", new StatsRequest { Id = id }, StatsResponse.Parser)).Stats;

    internal Task<ConnectResponse> ConnectAsync(string id) => CallAsync("Connect", new ConnectRequest { Id = id }, ConnectResponse.Parser);

    internal Task ShutdownAsync(string id, bool now = false) => CallAsync("Shutdown", new ShutdownRequest { Id = id, Now = now }, Empty.Parser);

    /// <summary>Calls any method, also one that is not there.</summary>
    internal Task<TResponse> CallAsync<TRequest, TResponse>(string method, TRequest request, MessageParser<TResponse> parser)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse> => _ttrpc is not null
        ? _ttrpc.CallAsync(_service, method, request, parser, s_limit)
        : _grpc!.CreateCallInvoker().AsyncUnaryCall(
            new Method<TRequest, TResponse>(
                MethodType.Unary,
                _service,
                method,
                Marshallers.Create<TRequest>(message => message.ToByteArray(), _ => throw new InvalidOperationException("a client reads no requests")),
                Marshallers.Create<TResponse>(message => message.ToByteArray(), parser.ParseFrom)),
            null,
            new CallOptions(deadline: DateTime.UtcNow + s_limit),
            request).ResponseAsync;

    /// <summary>A process of the OCI specification, as containerd's clients pack it.</summary>
    internal static Any Process(string[] args, bool terminal = false)
    {
        var list = string.Join(',', args.Select(arg => System.Text.Json.JsonSerializer.Serialize(arg)));
        var json = $$"""{"terminal":{{(terminal ? "true" : "false")}},"user":{"uid":0,"gid":0},"args":[{{list}}],"env":["PATH=/bin","TERM=xterm"],"cwd":"/"}""";
        return new Any { TypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/Process", Value = ByteString.CopyFrom(json, Encoding.UTF8) };
    }

    /// <summary>A process that runs a shell script.</summary>
    internal static Any Shell(string script, bool terminal = false) => Process(["sh", "-c", script], terminal);

    /// <summary>Expects a call to be refused so; returns the message.</summary>
    internal static async Task<string> RefusedAsync(Task call, StatusCode code, string naming = "")
    {
        try
        {
            await call;
        }
        catch (RpcException e)
        {
            Assert.That(e.StatusCode, Is.EqualTo(code), e.Status.Detail);
            Assert.That(e.Status.Detail, Does.Contain(naming).And.Not.Empty);
            return e.Status.Detail;
        }

        throw new AssertionException($"the call was answered instead of refused as {code}");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _grpc?.Dispose();
        if (_ttrpc is not null)
        {
            await _ttrpc.DisposeAsync();
        }
    }
}
