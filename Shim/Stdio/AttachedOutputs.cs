using Shim.Loops;

namespace Shim.Stdio;

/// <summary>The attached clients of one output. All of it happens on the thread of its loop, where the output's bytes come by.</summary>
internal sealed class AttachedOutputs(EventLoop loop) : IDisposable
{
    private readonly List<AttachedOutput> _clients = [];
    private bool _closed;

    /// <summary>Whether anybody wants the bytes.</summary>
    internal bool Any => _clients.Count > 0;

    /// <summary>Adds a client; InvalidArgument when his FIFO cannot be opened. False when there will be no more output.</summary>
    internal Task<bool> AddAsync(StreamAddress address) => loop.RunAsync(() =>
    {
        if (_closed)
        {
            return false;
        }

        _clients.Add(AttachedOutput.Open(address, loop, Remove));
        return true;
    });

    /// <summary>Lets go of the client of this address. False when there is none.</summary>
    internal Task<bool> RemoveAsync(string address) => loop.RunAsync(() =>
    {
        var client = _clients.Find(client => client.Address == address);
        if (client is not null)
        {
            Remove(client);
        }

        return client is not null;
    });

    /// <summary>Gives everybody a copy.</summary>
    internal void Offer(ReadOnlySpan<byte> bytes)
    {
        for (var i = _clients.Count - 1; i >= 0; i--)
        {
            if (!_clients[i].Offer(bytes))
            {
                Remove(_clients[i]);
            }
        }
    }

    /// <summary>The output has ended: everybody sees the end. Idempotent.</summary>
    public void Dispose()
    {
        _closed = true;
        foreach (var client in _clients)
        {
            client.Dispose();
        }

        _clients.Clear();
    }

    private void Remove(AttachedOutput client)
    {
        if (_clients.Remove(client))
        {
            client.Dispose();
        }
    }
}
