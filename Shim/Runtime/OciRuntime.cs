using System.Text;
using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;
using Shim.Loops;
using Shim.Processes;

namespace Shim.Runtime;

/// <summary>
/// Runs the OCI runtime (runc, crun ...): one process per call, its own deadline, its own error output, nothing of ours inherited.
/// Knows no states and no policy.
/// </summary>
internal sealed class OciRuntime
{
    private const int MaxOutput = 64 * 1024;

    private static readonly SafeFileHandle s_null = Fd.Open("/dev/null", Libc.O_RDWR);

    private readonly Reaper _reaper;
    private readonly string _executable;
    private readonly string? _root;
    private readonly bool _systemdCgroup;

    /// <param name="reaper">Starts and collects the runtime's processes.</param>
    /// <param name="binary">Name (looked up in PATH) or path.</param>
    /// <param name="root">Where the runtime keeps its state; null is its own default.</param>
    /// <param name="systemdCgroup">Let systemd make the cgroups.</param>
    /// <exception cref="TaskException">InvalidArgument: there is no such runtime.</exception>
    internal OciRuntime(Reaper reaper, string binary, string? root, bool systemdCgroup = false)
    {
        _systemdCgroup = systemdCgroup;
        _reaper = reaper;
        _root = root;
        _executable = Locate(binary);
        Binary = binary;
    }

    /// <summary>Name or path, as it was given.</summary>
    internal string Binary { get; }

    /// <summary>
    /// Runs one call to its end. Throws what the runtime said (<see cref="TaskException"/>, kind by <see cref="RuntimeErrors"/>),
    /// DeadlineExceeded when it took too long, Cancelled when <paramref name="abort"/> fired; in both cases it has been killed.
    /// </summary>
    /// <param name="command">The call.</param>
    /// <param name="abort">Not a caller's patience (that cancels his waiting only) but a reason to stop the runtime itself.</param>
    internal Task RunAsync(RuntimeCommand command, CancellationToken abort = default) => OutputAsync(command, abort);

    /// <summary>
    /// The word that the runtime has for a container's state: created, running, paused or stopped. Only for a container that this shim has not
    /// lived through; of its own it knows better.
    /// </summary>
    internal async Task<string> StatusAsync(string id)
    {
        var output = Encoding.UTF8.GetString(await OutputAsync(RuntimeCommand.State(id), CancellationToken.None).ConfigureAwait(false));

        // Warnings may stand before and after the answer.
        var key = output.IndexOf("\"status\"", StringComparison.Ordinal);
        var parts = key < 0 ? [] : output[key..].Split('"', 5);
        return parts is [_, _, _, var status, _] ? status : throw new TaskException(ErrorKind.RuntimeFailed, $"{Path.GetFileName(Binary)} state: {output}");
    }

    /// <summary>What the runtime can do, as the JSON object that the OCI specification calls features.</summary>
    internal Task<byte[]> FeaturesAsync() => OutputAsync(RuntimeCommand.Features(), CancellationToken.None);

    private async Task<byte[]> OutputAsync(RuntimeCommand command, CancellationToken abort)
    {
        // Errors go to a file without a name: nothing is left on disk, concurrent calls cannot read each other's, and it works when the
        // disk is full. Append mode, because log and stderr are two open files.
        using var output = Fd.Memory("runtime-output");
        if (Libc.Fcntl(Fd.Number(output), Libc.F_SETFL, Libc.O_APPEND) == -1)
        {
            throw Errno.Exception("fcntl F_SETFL");
        }

        // In the order of containerd's shim: there are programs around runc that look for the log where that one puts it.
        List<string> arguments = [Binary];
        if (_root is not null)
        {
            arguments.AddRange(["--root", _root]);
        }

        arguments.AddRange(["--log", PathOf(output), "--log-format", "json"]);
        if (_systemdCgroup)
        {
            arguments.Add("--systemd-cgroup");
        }

        arguments.AddRange(command.Arguments);
        Reaper.Child child;
        try
        {
            child = _reaper.Spawn(new SpawnRequest
            {
                Path = _executable,
                Arguments = arguments,
                Environment = [$"PATH={SearchPath.Value}", .. command.Environment],
                Stdin = command.Stdio?.Stdin ?? s_null,
                Stdout = command.Stdio?.Stdout ?? output,
                Stderr = command.Stdio?.Stderr ?? output,
                NewProcessGroup = true,
            });
        }
        catch (NativeException e)
        {
            throw new TaskException(ErrorKinds.OfMachine(e) ?? ErrorKind.InvalidArgument, $"cannot run the runtime: {e.Message}", e);
        }

        var exit = await EndAsync(child, command, abort).ConfigureAwait(false);
        if (exit.Status.Code != 0)
        {
            throw Failure(command, exit.Status, ReadOutput(output));
        }

        return command.Verb is RuntimeVerb.State or RuntimeVerb.Features ? ReadOutput(output) : [];
    }

    /// <summary>A path under which the runtime can open a descriptor of ours.</summary>
    internal static string PathOf(SafeFileHandle handle) => $"/proc/{Environment.ProcessId}/fd/{Fd.Number(handle)}";

    private async Task<ChildExit> EndAsync(Reaper.Child child, RuntimeCommand command, CancellationToken abort)
    {
        var limit = RuntimeDeadlines.For(command.Verb);
        try
        {
            return await child.Exit.WithinAsync(limit, abort).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            child.KillGroup();
            try
            {
                await child.Exit.WithinAsync(RuntimeDeadlines.AfterKill, CancellationToken.None).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                // Stuck in the kernel. It stays registered and is collected whenever it ends.
            }

            throw e is TimeoutException
                ? TaskException.Timeout($"{Binary} {command.Arguments[0]} did not finish within {limit.TotalSeconds:0} s and was killed")
                : new TaskException(ErrorKind.Cancelled, $"{Binary} {command.Arguments[0]} was stopped, because its container has ended");
        }
    }

    private TaskException Failure(RuntimeCommand command, ExitStatus status, byte[] output)
    {
        var message = RuntimeErrors.LastError(output);
        if (message.Length == 0)
        {
            message = status.Signal != 0 ? $"killed by signal {status.Signal}" : $"exit status {status.Code}";
        }

        return new TaskException(RuntimeErrors.Classify(message), $"{Path.GetFileName(Binary)} {command.Arguments[0]}: {message}");
    }

    private static byte[] ReadOutput(SafeFileHandle output)
    {
        // The end is what matters, and a runtime that prints megabytes must not fill our memory.
        var length = RandomAccess.GetLength(output);
        var bytes = new byte[Math.Min(length, MaxOutput)];
        var count = RandomAccess.Read(output, bytes, length - bytes.Length);
        return bytes[..count];
    }

    private static string Locate(string binary)
    {
        if (binary.Contains('\0'))
        {
            throw TaskException.Invalid("the name of the runtime contains a NUL byte");
        }

        if (binary.Contains('/'))
        {
            var path = Path.GetFullPath(binary);
            return File.Exists(path) ? path : throw TaskException.Invalid($"the runtime {path} does not exist");
        }

        return SearchPath.Find(binary) ?? throw TaskException.Invalid($"cannot find the runtime \"{binary}\" in PATH ({SearchPath.Value})");
    }
}
