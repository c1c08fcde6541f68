namespace Shim.Stdio.Logs;

/// <summary>A thread that may stand still for as long as a disk likes, and runs one action at a time. It begins with the first one.</summary>
internal sealed class LogThread : IDisposable
{
    private const int StackBytes = 256 * 1024;

    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _submitted = new(0);
    private Thread? _thread;
    private Action? _action;
    private volatile bool _ending;

    /// <summary>Runs <paramref name="action"/>, which must not throw. The one before must have ended.</summary>
    internal void Submit(Action action)
    {
        lock (_lock)
        {
            _action = action;
            if (_thread is null)
            {
                _thread = new Thread(Run, StackBytes) { IsBackground = true, Name = "log writer" };
                _thread.Start();
            }
        }

        _submitted.Release();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ending = true;
        _submitted.Release();
    }

    private void Run()
    {
        while (true)
        {
            _submitted.Wait();
            if (_ending)
            {
                return;
            }

            _action!();
        }
    }
}
