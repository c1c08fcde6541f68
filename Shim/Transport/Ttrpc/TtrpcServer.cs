using Shim.Loops;


namespace Shim.Transport.Ttrpc;

/// <summary>A ttrpc server on listening sockets that somebody else made.</summary>
internal sealed class TtrpcServer : ConnectionServer
{
    internal TtrpcServer(TtrpcMethods methods, TtrpcServerOptions options)
        : base(options)
    {
        Methods = methods;
        Options = options;
        Incoming = new MemoryBudget(options.Limits.IncomingBytes);
        Outgoing = new MemoryBudget(options.Limits.OutgoingBytes);
    }

    internal TtrpcMethods Methods { get; }

    internal TtrpcServerOptions Options { get; }

    /// <summary>Memory for large bodies that come in. Two budgets, because a call holds a part of this one while it waits for the other.</summary>
    internal MemoryBudget Incoming { get; }

    /// <summary>Memory for large bodies that go out.</summary>
    internal MemoryBudget Outgoing { get; }

    private protected override IServerConnection NewConnection(UnixSocket socket) => new ServerConnection(this, socket);
}
