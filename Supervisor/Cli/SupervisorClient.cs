using Containerd;
using Containerd.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Supervisor.Cli;

/// <summary>Both public services of the supervisor on one channel, and how long a call may take.</summary>
internal sealed class SupervisorClient : IDisposable
{
    // Longer than anything the supervisor itself waits for, so that its own message arrives and not our deadline.
    private static readonly TimeSpan s_changeTime = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_readTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_absence = TimeSpan.FromMinutes(1);

    private readonly GrpcChannel _channel;

    internal SupervisorClient(string socket)
    {
        SocketPath = socket;
        _channel = UnixChannel.Open(socket);
        Execution = new ExecutionService.ExecutionServiceClient(_channel);
        Supervisor = new SupervisorService.SupervisorServiceClient(_channel);
    }

    internal string SocketPath { get; }

    internal ExecutionService.ExecutionServiceClient Execution { get; }

    internal SupervisorService.SupervisorServiceClient Supervisor { get; }

    /// <summary>For calls that only ask.</summary>
    internal static CallOptions Read(CancellationToken cancellationToken = default) =>
        new(deadline: DateTime.UtcNow + s_readTime, cancellationToken: cancellationToken);

    /// <summary>For calls that change something, and so may wait for the runtime.</summary>
    internal static CallOptions Change(CancellationToken cancellationToken = default) =>
        new(deadline: DateTime.UtcNow + s_changeTime, cancellationToken: cancellationToken);

    /// <summary>For calls that last as long as the person wants.</summary>
    internal static CallOptions Follow(CancellationToken cancellationToken) => new(cancellationToken: cancellationToken);

    /// <summary>Everything about one container.</summary>
    internal async Task<ContainerDetails> InspectAsync(string id, bool processes, CancellationToken cancellationToken)
    {
        var request = new InspectRequest { NoProcesses = !processes };
        request.ContainerIds.Add(id);
        var response = await Supervisor.InspectAsync(request, Read(cancellationToken)).ConfigureAwait(false);
        return response.Containers.Count == 1 ? response.Containers[0] : throw new CliException($"container {id} not found");
    }

    /// <summary>Waits until the process has ended, however long that takes.</summary>
    internal Task<WaitResponse> WaitAsync(string containerId, uint pid, CancellationToken cancellationToken)
    {
        var request = new WaitRequest { ContainerId = containerId, Pid = pid };
        return PersistAsync(async () => await Supervisor.WaitAsync(request, Follow(cancellationToken)).ConfigureAwait(false), cancellationToken);
    }

    /// <summary>
    /// Makes a call that is harmless to repeat until it is answered. A container does not notice when the supervisor goes away, and neither
    /// should whoever waits for the container: a supervisor that comes back within a minute is asked again.
    /// </summary>
    internal static async Task<T> PersistAsync<T>(Func<Task<T>> call, CancellationToken cancellationToken)
    {
        long? absentSince = null;
        while (true)
        {
            var asked = Environment.TickCount64;
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (RpcException) when (cancellationToken.IsCancellationRequested)
            {
                throw new OperationCanceledException(cancellationToken);
            }
            catch (RpcException e) when (Failures.IsConnectionLost(e) || IsStopping(e))
            {
                // A call that lasted a while reached the supervisor before it was lost: the absence begins now.
                var now = Environment.TickCount64;
                absentSince = now - asked > 1000 ? now : absentSince ?? now;
                if (now - absentSince > s_absence.TotalMilliseconds)
                {
                    throw;
                }

                await Task.Delay(250, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static bool IsStopping(RpcException failure) =>
        failure.StatusCode == StatusCode.Unavailable && failure.Status.Detail.StartsWith(ErrorKinds.SupervisorStops, StringComparison.Ordinal);

    public void Dispose() => _channel.Dispose();
}
