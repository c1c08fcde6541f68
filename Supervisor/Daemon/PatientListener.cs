using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Supervisor.Daemon;

/// <summary>Whether connections can be accepted just now, and the two moments that somebody is told of.</summary>
/// <param name="paused">Told once, with the reason, when it begins to fail.</param>
/// <param name="resumed">Told once when it works again.</param>
internal sealed class AcceptPause(Action<string> paused, Action resumed)
{
    private volatile string _reason = "";

    /// <summary>Why not; empty while they can.</summary>
    internal string Reason => _reason;

    internal void Failed(string reason)
    {
        if (Interlocked.Exchange(ref _reason, reason).Length == 0)
        {
            paused(reason);
        }
    }

    internal void Works()
    {
        if (_reason.Length > 0 && Interlocked.Exchange(ref _reason, "").Length > 0)
        {
            resumed();
        }
    }
}

/// <summary>
/// Listens for Kestrel, whose own listener asks again at once when it cannot accept, and burns a processor for as long as descriptors are missing.
/// This one waits a moment in between; the clients wait in the socket's queue meanwhile.
/// </summary>
internal sealed class PatientListenerFactory(Func<EndPoint, Socket> bind, AcceptPause pause, Microsoft.Extensions.Logging.ILoggerFactory loggers) : IConnectionListenerFactory
{
    private const int Backlog = 512;

    /// <inheritdoc/>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket socket;
        try
        {
            socket = bind(endpoint);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            throw new AddressInUseException(e.Message, e);
        }

        socket.Listen(Backlog);
        return ValueTask.FromResult<IConnectionListener>(new PatientListener(socket, endpoint, pause, loggers));
    }

    private sealed class PatientListener(Socket socket, EndPoint endPoint, AcceptPause pause, Microsoft.Extensions.Logging.ILoggerFactory loggers) : IConnectionListener
    {
        private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(250);

        private readonly SocketConnectionContextFactory _connections =
            new(new SocketConnectionFactoryOptions(), loggers.CreateLogger("Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets"));

        private readonly CancellationTokenSource _unbound = new();

        public EndPoint EndPoint { get; } = socket.LocalEndPoint ?? endPoint;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            while (true)
            {
                try
                {
                    var accepted = await socket.AcceptAsync(cancellationToken).ConfigureAwait(false);
                    pause.Works();
                    if (accepted.LocalEndPoint is IPEndPoint)
                    {
                        accepted.NoDelay = true;
                    }

                    return _connections.Create(accepted);
                }
                catch (Exception e) when (e is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.OperationAborted })
                {
                    return null;
                }
                catch (SocketException e) when (Containerd.ErrorKinds.OfMachine(e) is null)
                {
                    // The client has gone before its turn came.
                }
                catch (Exception e) when (Containerd.ErrorKinds.OfMachine(e) is not null)
                {
                    pause.Failed(e.Message);
                    if (!await PauseAsync(cancellationToken).ConfigureAwait(false))
                    {
                        return null;
                    }
                }
            }
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            _unbound.Cancel();
            socket.Dispose();
            return default;
        }

        public ValueTask DisposeAsync()
        {
            socket.Dispose();
            _connections.Dispose();
            return default;
        }

        private async Task<bool> PauseAsync(CancellationToken cancellationToken)
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(_unbound.Token, cancellationToken);
            try
            {
                await Task.Delay(s_pause, either.Token).ConfigureAwait(false);
                return true;
            }
            catch (OperationCanceledException)
            {
                return false;
            }
        }
    }
}
