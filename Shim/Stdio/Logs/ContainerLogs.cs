namespace Shim.Stdio.Logs;

/// <summary>
/// The <c>log://</c> files that are open: processes which name the same file share its one writer. Two writers would rotate it under each
/// other's hands.
/// </summary>
internal sealed class ContainerLogs(StreamServices services)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, ContainerLog> _logs = [];

    /// <summary>Opens the log of an address, or joins those who have it open. InvalidArgument if these want it written in another way.</summary>
    internal ContainerLog Open(StreamAddress address)
    {
        lock (_lock)
        {
            if (!_logs.TryGetValue(address.Path, out var log))
            {
                _logs.Add(address.Path, log = new ContainerLog(address, services));
            }
            else if (log.Options != address.Log)
            {
                throw address.Refusal($"another stream writes this log with other options ({log.Address.Given})");
            }

            log.Users++;
            return log;
        }
    }

    /// <summary>One user less; the last one closes the file.</summary>
    internal void Release(ContainerLog log)
    {
        lock (_lock)
        {
            if (--log.Users == 0)
            {
                _logs.Remove(log.Address.Path);
                log.Close();
            }
        }
    }

    /// <summary>Opens all files anew, after somebody has renamed them.</summary>
    internal Task ReopenAsync()
    {
        lock (_lock)
        {
            return Task.WhenAll(_logs.Values.Select(log => log.ReopenAsync()).ToArray());
        }
    }
}
