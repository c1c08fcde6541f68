using Shim.Loops;
using Shim.Processes;
using Shim.Stdio.Logs;

namespace Shim.Stdio;

/// <summary>What the streams of this shim's processes stand on.</summary>
internal sealed class StreamServices : IDisposable
{
    private const int LogScratchBytes = 64 * 1024;

    /// <param name="reaper">Starts loggers.</param>
    /// <param name="log">Told of failures, one line each.</param>
    internal StreamServices(Reaper reaper, Action<string>? log = null)
    {
        Reaper = reaper;
        Loop = new EventLoop(log);
        LogLoop = new EventLoop(log, "logs", LogScratchBytes);
        Logs = new ContainerLogs(this);
    }

    /// <summary>Starts loggers.</summary>
    internal Reaper Reaper { get; }

    /// <summary>For terminals, attached clients, loggers and watches: nothing on it ever blocks.</summary>
    internal EventLoop Loop { get; }

    /// <summary>For <c>log://</c> files: a slow disk holds up nothing but logs.</summary>
    internal EventLoop LogLoop { get; }

    /// <summary>The open <c>log://</c> files.</summary>
    internal ContainerLogs Logs { get; }

    /// <summary>Where files that callers name may lie.</summary>
    internal LogDirectories LogDirectories { get; init; } = new([]);

    /// <summary>Where loggers may lie.</summary>
    internal LoggerDirectories LoggerDirectories { get; init; } = new([]);

    /// <summary>The namespace that loggers are told.</summary>
    internal string Namespace { get; init; } = "default";

    /// <summary>How long a logger may take until it is ready.</summary>
    internal TimeSpan LoggerStartLimit { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Told when large buffers were let go of, so that their memory can be given back.</summary>
    internal Action? Released { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Loop.Dispose();
        LogLoop.Dispose();
    }
}
