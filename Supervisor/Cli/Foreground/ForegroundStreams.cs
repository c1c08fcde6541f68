using System.Globalization;
using Supervisor.Cli.Bundles;

namespace Supervisor.Cli.Foreground;

/// <summary>
/// The FIFOs between us and one process, in a directory of mode 0700 beside the supervisor's socket, and the threads that serve them.
/// The container's bytes go through these FIFOs alone: neither shim nor supervisor touches them.
/// </summary>
internal sealed class ForegroundStreams : IDisposable
{
    // How long a background child of an ended process may keep its output open before we stop to listen.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    // As much as can still lie in the FIFO when the process ends; what comes after it was written by others.
    private const long PipeBytes = 1024 * 1024;

    private readonly string _directory;
    private readonly List<OutputRelay> _outputs = [];

    private ForegroundStreams(string directory) => _directory = directory;

    /// <summary>What to give to the supervisor; empty where there is no stream.</summary>
    internal string Stdin { get; private set; } = "";

    internal string Stdout { get; private set; } = "";

    internal string Stderr { get; private set; } = "";

    /// <summary>
    /// Makes the FIFOs and opens the ends that we read. A terminal has one stream for all its output.
    /// <paramref name="onOutputGone"/> is told when nobody reads our own output any more.
    /// </summary>
    internal static ForegroundStreams Open(string socket, bool stdin, bool terminal, Action onOutputGone)
    {
        var parent = PrivateBundle.Beside(socket, "io");
        RemoveAbandoned(parent);
        var directory = Path.Combine(parent, $"{Environment.ProcessId}-{Guid.NewGuid():N}");
        PrivateBundle.MakeDirectory(directory);
        var streams = new ForegroundStreams(directory);
        try
        {
            if (stdin)
            {
                streams.Stdin = streams.Make("stdin");
            }

            streams.Stdout = streams.Make("stdout");
            streams._outputs.Add(new OutputRelay(streams.Stdout, 1, onOutputGone));
            if (!terminal)
            {
                streams.Stderr = streams.Make("stderr");
                streams._outputs.Add(new OutputRelay(streams.Stderr, 2, onOutputGone));
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
    internal void Begin(Action onInputEnd)
    {
        foreach (var output in _outputs)
        {
            output.Begin();
        }

        if (Stdin.Length > 0)
        {
            InputRelay.Begin(Stdin, onInputEnd);
        }
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

    private string Make(string name)
    {
        var path = Path.Combine(_directory, name);
        Fifo.Make(path);
        return path;
    }
}
