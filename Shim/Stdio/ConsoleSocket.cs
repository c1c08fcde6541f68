using System.Security.Cryptography;
using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;

namespace Shim.Stdio;

/// <summary>
/// The socket on which the runtime hands over the master of a terminal that it has made (its option <c>--console-socket</c>).
/// For one connection and one terminal.
/// </summary>
internal sealed class ConsoleSocket : IDisposable
{
    private readonly EventLoop _loop;
    private readonly UnixSocket _listener;
    private readonly SafeFileHandle? _directory;
    private readonly string _file;

    private ConsoleSocket(EventLoop loop, UnixSocket listener, SafeFileHandle? directory, string file, string path)
    {
        (_loop, _listener, _directory, _file) = (loop, listener, directory, file);
        Path = path;
    }

    /// <summary>
    /// What the runtime connects to; valid until Dispose. For a long directory it leads through /proc to a descriptor of ours, because
    /// the path of a socket has its limit.
    /// </summary>
    internal string Path { get; }

    /// <summary>Binds a socket (0600, whatever the umask) under a new name in <paramref name="directory"/>.</summary>
    internal static ConsoleSocket Listen(string directory, EventLoop loop)
    {
        var name = $"tty-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6))}";
        var file = System.IO.Path.Combine(directory, name);
        SafeFileHandle? reference = null;
        try
        {
            var path = file;
            if (System.Text.Encoding.UTF8.GetByteCount(path) > Libc.MaxSocketPath)
            {
                reference = Fd.Open(directory, Libc.O_PATH | Libc.O_DIRECTORY);
                path = $"/proc/{Environment.ProcessId}/fd/{Fd.Number(reference)}/{name}";
            }

            return new ConsoleSocket(loop, new UnixSocket(UnixSockets.Listen(path, 1), loop), reference, file, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            reference?.Dispose();
            throw new TaskException(ErrorKind.Internal, $"cannot make a console socket in \"{directory}\": {e.Message}", e);
        }
    }

    /// <summary>
    /// Waits for the runtime's connection and its message, and returns the one descriptor in it. Throws DeadlineExceeded after
    /// <paramref name="timeout"/>, RuntimeFailed when what came is not one terminal.
    /// </summary>
    internal async Task<SafeFileHandle> ReceiveMasterAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        // Ends the wait: the caller's token, or the time limit.
        using var limited = new Patience(timeout, cancellationToken);
        try
        {
            using var connection = await _listener.AcceptAsync(limited.Token).ConfigureAwait(false);
            await connection.ReadableAsync(limited.Token).ConfigureAwait(false);
            return TakeMaster(connection);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw TaskException.Timeout($"the runtime did not send a terminal within {timeout.TotalSeconds:0.#} s");
        }
        catch (NativeException e)
        {
            throw new TaskException(ErrorKind.Internal, $"cannot receive a terminal from the runtime: {e.Message}", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _listener.Dispose();
        _directory?.Dispose();
        try
        {
            File.Delete(_file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _loop.Log($"cannot remove a console socket: {e.Message}");
        }
    }

    private static SafeFileHandle TakeMaster(UnixSocket connection)
    {
        var message = DescriptorMessage.TryReceive(connection.Handle) ?? throw Refusal("nothing at all");
        if (message is { Length: > 0, Truncated: false, Descriptors: [var master] } && Terminal.Is(master))
        {
            return master;
        }

        message.Dispose();
        throw Refusal(message switch
        {
            { Length: 0 } => "nothing before it closed the connection",
            { Truncated: true } or { Descriptors.Count: > 1 } => "more than one descriptor",
            { Descriptors.Count: 0 } => "a message without a descriptor",
            _ => "a descriptor that is no terminal",
        });
    }

    private static TaskException Refusal(string received) =>
        new(ErrorKind.RuntimeFailed, $"expected a terminal from the runtime, but it sent {received}");
}
