namespace Shim.Transport;

/// <summary>A connection of a <see cref="ConnectionServer"/>.</summary>
internal interface IServerConnection
{
    /// <summary>Reads until the client is gone; tells the server then that it is closed.</summary>
    public Task RunAsync();

    /// <summary>Takes no new calls any more, where the protocol has a word for that.</summary>
    public void Drain();

    /// <summary>Cancels all calls; their answers still go out.</summary>
    public void CancelCalls();

    /// <summary>Ends the connection now.</summary>
    public void Abort();
}
