using Grpc.Core;
using Shim.Loops;

namespace Shim.Transport;

/// <summary>What a <see cref="ConnectionServer"/> needs of whoever runs it.</summary>
internal record ServerOptions
{
    /// <summary>What an exception of a handler is on the wire; that of an RpcException is known already.</summary>
    internal Func<Exception, Status> ToStatus { get; init; } = e => new Status(StatusCode.Unknown, e.Message);

    /// <summary>Takes a line about something unusual.</summary>
    internal Action<string> Log { get; init; } = _ => { };

    /// <summary>Whether a new peer may stay.</summary>
    internal Func<UnixSocket, bool> Accept { get; init; } = _ => true;

    /// <summary>Called after each call, whatever became of it.</summary>
    internal Action Worked { get; init; } = () => { };

    /// <summary>Connections at a time; further ones wait in the listener's backlog.</summary>
    internal int Connections { get; init; } = 1024;
}
