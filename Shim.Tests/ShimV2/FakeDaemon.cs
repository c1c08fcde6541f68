using System.Collections.Concurrent;
using Containerd.Services.Events.Ttrpc.V1;
using Containerd.Types;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Shim.Interop;
using Shim.Loops;
using Shim.Tests.Support;
using Shim.Transport.Ttrpc;
using GrpcEvents = Containerd.Services.Events.V1.Events;
using GrpcForwardRequest = Containerd.Services.Events.V1.ForwardRequest;

namespace Shim.Tests.ShimV2;

/// <summary>
/// What a shim needs of containerd: somebody who takes events, over ttrpc and gRPC. It can be away, come back, and refuse.
/// </summary>
/// <param name="directory">Where its sockets lie.</param>
internal sealed class FakeDaemon(string directory) : IAsyncDisposable
{
    private readonly ConcurrentQueue<string> _wires = [];
    private (TtrpcServer Server, UnixSocket Listener, CancellationTokenSource End, Task Serving)? _ttrpc;
    private WebApplication? _grpc;
    private int _attempts;

    /// <summary>Its gRPC address, as it tells its shims.</summary>
    internal string GrpcAddress => Path.Combine(directory, "d.sock");

    /// <summary>Its ttrpc address.</summary>
    internal string TtrpcAddress => GrpcAddress + ".ttrpc";

    /// <summary>What it was told and took.</summary>
    internal TaskEventLog Events { get; } = new();

    /// <summary>The wires over which events came.</summary>
    internal IReadOnlyList<string> Wires => [.. _wires.Distinct()];

    /// <summary>How often it was told something, taken or not.</summary>
    internal int Attempts => Volatile.Read(ref _attempts);

    /// <summary>What it refuses, and with what.</summary>
    internal Func<SeenEvent, Status?>? Refusing { get; set; }

    /// <summary>Starts to take events over ttrpc, unless it does already.</summary>
    internal void StartTtrpc()
    {
        if (_ttrpc is not null)
        {
            return;
        }

        var listener = new UnixSocket(UnixSockets.Listen(TtrpcAddress, 128));
        var server = new TtrpcServer(
            new TtrpcMethods().Unary("containerd.services.events.ttrpc.v1.Events", "Forward", ForwardRequest.Parser, (request, _) =>
            {
                Take(request.Envelope, "ttrpc");
                return Task.FromResult<IMessage>(new Empty());
            }),
            new TtrpcServerOptions());
        var end = new CancellationTokenSource();
        _ttrpc = (server, listener, end, server.ServeAsync(listener, end.Token));
    }

    /// <summary>It is gone, and its socket with it.</summary>
    internal async Task StopTtrpcAsync()
    {
        if (_ttrpc is var (server, listener, end, serving))
        {
            await server.StopAsync(TimeSpan.Zero).WithinAsync(Poll.Deadline, "the fake daemon stops");
            await end.CancelAsync();
            await serving.WithinAsync(Poll.Deadline, "the fake daemon accepts nothing more");
            listener.Dispose();
            File.Delete(TtrpcAddress);
            end.Dispose();
            File.Delete(TtrpcAddress);
            _ttrpc = null;
        }
    }

    /// <summary>Starts to take events over gRPC.</summary>
    internal async Task StartGrpcAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenUnixSocket(GrpcAddress, listen => listen.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _grpc = builder.Build();
        _grpc.MapGrpcService<GrpcService>();
        await _grpc.StartAsync();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopTtrpcAsync();
        if (_grpc is not null)
        {
            await _grpc.DisposeAsync();
        }
    }

    private void Take(Envelope envelope, string wire)
    {
        Interlocked.Increment(ref _attempts);
        _wires.Enqueue(wire);
        if (SeenEvent.From(envelope) is { } seen && Refusing?.Invoke(seen) is { } status)
        {
            throw new RpcException(status);
        }

        Events.Add(envelope);
    }

    private sealed class GrpcService(FakeDaemon daemon) : GrpcEvents.EventsBase
    {
        public override Task<Empty> Forward(GrpcForwardRequest request, ServerCallContext context)
        {
            daemon.Take(request.Envelope, "grpc");
            return Task.FromResult(new Empty());
        }
    }
}
