using Containerd.Shim.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Shim.Transport.Http2;

namespace Shim.Transport.Grpc;

/// <summary>The methods of the private service by their paths. A test compares them with the service's descriptor.</summary>
internal static class ShimMethods
{
    /// <summary>The full name of the service.</summary>
    internal const string ServiceName = "containerd.shim.v1.Shim";

    /// <summary>All of them.</summary>
    internal static IReadOnlyList<GrpcMethod> Of(ShimGrpcService service) =>
    [
        Unary<CreateRequest, CreateResponse>("Create", CreateRequest.Parser, service.Create),
        Unary<StartRequest, Empty>("Start", StartRequest.Parser, service.Start),
        Unary<DeleteRequest, DeleteResponse>("Delete", DeleteRequest.Parser, service.Delete),
        Unary<ExecRequest, ExecResponse>("Exec", ExecRequest.Parser, service.Exec),
        Unary<PtyRequest, Empty>("Pty", PtyRequest.Parser, service.Pty),
        new($"/{ServiceName}/Events", EventsRequest.Parser, async (request, call) =>
        {
            await service.Events((EventsRequest)request, new EventWriter(call), call.Context).ConfigureAwait(false);
            return null;
        }),
        Unary<StateRequest, StateResponse>("State", StateRequest.Parser, service.State),
        Unary<PauseRequest, Empty>("Pause", PauseRequest.Parser, service.Pause),
        Unary<ResumeRequest, Empty>("Resume", ResumeRequest.Parser, service.Resume),
        Unary<KillRequest, Empty>("Kill", KillRequest.Parser, service.Kill),
        Unary<WaitRequest, WaitResponse>("Wait", WaitRequest.Parser, service.Wait),
        Unary<UpdateRequest, Empty>("Update", UpdateRequest.Parser, service.Update),
        Unary<PidsRequest, PidsResponse>("Pids", PidsRequest.Parser, service.Pids),
        Unary<StatsRequest, StatsResponse>("Stats", StatsRequest.Parser, service.Stats),
        Unary<CloseStdinRequest, Empty>("CloseStdin", CloseStdinRequest.Parser, service.CloseStdin),
        Unary<AttachRequest, Empty>("Attach", AttachRequest.Parser, service.Attach),
        Unary<DetachRequest, Empty>("Detach", DetachRequest.Parser, service.Detach),
        Unary<ReopenLogsRequest, Empty>("ReopenLogs", ReopenLogsRequest.Parser, service.ReopenLogs),
        Unary<AdoptRequest, AdoptResponse>("Adopt", AdoptRequest.Parser, service.Adopt),
        Unary<CollectedRequest, Empty>("Collected", CollectedRequest.Parser, service.Collected),
        Unary<RecordedRequest, Empty>("Recorded", RecordedRequest.Parser, service.Recorded),
        Unary<InfoRequest, InfoResponse>("Info", InfoRequest.Parser, service.Info),
        Unary<DumpRequest, DumpResponse>("Dump", DumpRequest.Parser, service.Dump),
        Unary<ShutdownRequest, Empty>("Shutdown", ShutdownRequest.Parser, service.Shutdown),
    ];

    private static GrpcMethod Unary<TRequest, TResponse>(string name, MessageParser parser, Func<TRequest, ServerCallContext, Task<TResponse>> answer)
        where TRequest : class, IMessage
        where TResponse : class, IMessage =>
        new($"/{ServiceName}/{name}", parser, async (request, call) => await answer((TRequest)request, call.Context).ConfigureAwait(false));

    private sealed class EventWriter(GrpcCall call) : IServerStreamWriter<Event>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(Event message) => call.WriteAsync(message);

        public Task WriteAsync(Event message, CancellationToken cancellationToken) => call.WriteAsync(message);
    }
}
