using System.Globalization;
using Supervisor.Cli.Bundles;
using Supervisor.Cli.Logs;

namespace Supervisor.Cli.Foreground;

/// <summary>Which streams a foreground verb wants.</summary>
internal sealed record StreamWishes
{
    /// <summary>Whether our standard input is to be copied.</summary>
    internal bool Stdin { get; init; }

    /// <summary>Whether our standard input is at least to be looked through for the detach keys.</summary>
    internal bool Keys { get; init; }

    /// <summary>Whether the process has a terminal.</summary>
    internal bool Terminal { get; init; }

    /// <summary>What it means to the process that we go without a word: "discard", "hangup", or null for a client beside others.</summary>
    internal string? OnDisconnect { get; init; }

    /// <summary>How large the terminal of a new process is to be.</summary>
    internal (ushort Columns, ushort Rows)? ConsoleSize { get; init; }
}

/// <summary>
/// The FIFOs between us and one process, in a directory of mode 0700 beside the supervisor's socket, and the threads that serve them.
/// The container's bytes go through these FIFOs alone: neither shim nor supervisor touches them.
/// </summary>
internal sealed class ForegroundStreams : IDisposable
{
    // How long a background child of an ended process may keep its output open before we stop to listen.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan s_settling = TimeSpan.FromMilliseconds(500);

    // As much as can still lie in the FIFO when the process ends; what comes after it was written by others.
    private const long PipeBytes = 1024 * 1024;

    private readonly string _directory;
    private readonly List<OutputRelay> _outputs = [];
    private readonly TaskCompletionSource _detached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string _inputTarget = "";

    private ForegroundStreams(string directory) => _directory = directory;

    /// <summary>What to give to the supervisor; empty where there is no stream.</summary>
    internal string Stdin { get; private set; } = "";

    internal string Stdout { get; private set; } = "";

    internal string Stderr { get; private set; } = "";

    /// <summary>Completes when the person has typed the keys to detach.</summary>
    internal Task Detached => _detached.Task;

    /// <summary>
    /// Makes the FIFOs and opens the ends that we read. A terminal has one stream for all its output.
    /// <paramref name="onOutputGone"/> is told when nobody reads our own output any more.
    /// </summary>
    internal static ForegroundStreams Open(string socket, StreamWishes wishes, Action onOutputGone)
    {
        var parent = PrivateBundle.Beside(socket, "io");
        RemoveAbandoned(parent);
        var directory = Path.Combine(parent, $"{Environment.ProcessId}-{Guid.NewGuid():N}");
        PrivateBundle.MakeDirectory(directory);
        var streams = new ForegroundStreams(directory);
        try
        {
            if (wishes.Stdin)
            {
                streams.Stdin = streams._inputTarget = streams.Make("stdin");
            }
            else if (wishes.Keys)
            {
                streams._inputTarget = "/dev/null";
            }

            var size = wishes.ConsoleSize is { } known ? string.Create(CultureInfo.InvariantCulture, $"{known.Columns}x{known.Rows}") : null;
            streams.Stdout = streams.MakeOutput("stdout", 1, onOutputGone, ("on-disconnect", wishes.OnDisconnect), ("console-size", size));
            if (!wishes.Terminal)
            {
                streams.Stderr = streams.MakeOutput("stderr", 2, onOutputGone, ("on-disconnect", wishes.OnDisconnect));
            }

            return streams;
        }
        catch
        {
            streams.Dispose();
            throw;
        }
    }

    /// <summary>Starts to copy. To be called when the shim has opened its ends.</summary>
    /// <param name="onInputEnd">Called when our input has ended.</param>
    /// <param name="detachKeys">What ends the copying of our input otherwise.</param>
    internal void Begin(Action onInputEnd, DetachKeys? detachKeys)
    {
        foreach (var output in _outputs)
        {
            output.Begin();
        }

        if (_inputTarget.Length > 0)
        {
            InputRelay.Begin(_inputTarget, onInputEnd, detachKeys, () => _detached.TrySetResult());
        }
    }

    /// <summary>After the shim has let go of us: copies what it had written before. Short, because a shim that did not cannot be helped.</summary>
    internal async Task SettleAsync()
    {
        using var enough = new CancellationTokenSource(s_settling);
        await Task.WhenAny(Task.WhenAll(_outputs.Select(output => output.Ended)), Task.Delay(Timeout.Infinite, enough.Token)).ConfigureAwait(false);
    }

    /// <summary>
    /// After the process has ended: copies what it wrote to the last byte. A slow reader of ours gets all the time it wants; a child
    /// in the background that keeps the stream open does not.
    /// </summary>
    internal async Task DrainAsync(CancellationToken cancellationToken)
    {
        var ended = Environment.TickCount64;
        var before = _outputs.Sum(output => output.Copied);
        var all = Task.WhenAll(_outputs.Select(output => output.Ended));
        while (await Task.WhenAny(all, Task.Delay(50, cancellationToken)).ConfigureAwait(false) != all)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var sinceEnd = TimeSpan.FromMilliseconds(Environment.TickCount64 - ended);
            var open = _outputs.Where(output => !output.Ended.IsCompleted);
            if (sinceEnd > s_patience && (open.All(output => output.Idle > s_patience) || _outputs.Sum(output => output.Copied) - before > _outputs.Count * PipeBytes))
            {
                return;
            }
        }

        await all.ConfigureAwait(false);
    }

    public void Dispose()
    {
        foreach (var output in _outputs)
        {
            output.Stop();
            output.Dispose();
        }

        Remove(_directory);
    }

    /// <summary>
    /// Removes what killed clients have left. Their processes do not need the names any more: the shims hold the FIFOs open.
    /// </summary>
    private static void RemoveAbandoned(string parent)
    {
        foreach (var directory in Directory.EnumerateDirectories(parent))
        {
            var name = Path.GetFileName(directory);
            if (int.TryParse(name.AsSpan(0, Math.Max(name.IndexOf('-', StringComparison.Ordinal), 0)), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                && !Directory.Exists($"/proc/{pid}"))
            {
                Remove(directory);
            }
        }
    }

    private static void Remove(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
            // Somebody tidied up before us.
        }
    }

    private string MakeOutput(string name, int descriptor, Action onOutputGone, params (string Name, string? Value)[] options)
    {
        var path = Make(name);
        _outputs.Add(new OutputRelay(path, descriptor, onOutputGone));
        return OutputAddress.Make("fifo", path, options);
    }

    private string Make(string name)
    {
        var path = Path.Combine(_directory, name);
        Fifo.Make(path);
        return path;
    }
}
