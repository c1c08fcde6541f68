using System.Text;
using Shim.Interop;
using Shim.Processes;

namespace Supervisor.Shims;

/// <summary>
/// The runtime, run by the supervisor itself: only <c>delete --force</c>, and only for a container whose shim is gone, which has
/// nobody else to remove its state, cgroup and processes.
/// </summary>
internal sealed class RuntimeCommand(ProcessWatcher watcher)
{
    /// <summary>Kills and removes the container; no container is success. Null when it worked, else why not.</summary>
    internal async Task<string?> DeleteAsync(string runtime, string runtimeRoot, string containerId)
    {
        if (Find(runtime) is not { } path)
        {
            return $"{runtime}: not found on the PATH";
        }

        using var output = Fd.Memory("runtime delete");
        using var input = Fd.Open("/dev/null", Libc.O_RDONLY);
        try
        {
            var child = watcher.Spawn(new SpawnRequest
            {
                Path = path,
                Arguments = [path, "--root", runtimeRoot, "delete", "--force", containerId],
                Environment = [$"PATH={ShimLauncher.SearchPath}"],
                WorkingDirectory = "/",
                Stdin = input,
                Stdout = output,
                Stderr = output,
                NewProcessGroup = true,
            });
            if (child is not var (process, ended))
            {
                return $"{path}: reaped by somebody else";
            }

            using (process)
            {
                return await RunAsync(process, ended, path, output);
            }
        }
        catch (NativeException e)
        {
            return e.Message;
        }
    }

    private static async Task<string?> RunAsync(PidFd process, Task<ExitStatus?> ended, string path, Microsoft.Win32.SafeHandles.SafeFileHandle output)
    {
        try
        {
            var status = await ended.WaitAsync(Deadlines.RuntimeDelete);
            return status is { Code: 0 } ? null : $"{path} delete ended with {status?.Code}: {Text(output)}";
        }
        catch (TimeoutException)
        {
            process.Signal(Libc.SIGKILL);
            await ended;
            return $"{path} delete did not end within {Deadlines.RuntimeDelete.TotalSeconds} s: {Text(output)}";
        }
    }

    private static string Text(Microsoft.Win32.SafeHandles.SafeFileHandle output)
    {
        var buffer = new byte[4096];
        return Encoding.UTF8.GetString(buffer.AsSpan(0, RandomAccess.Read(output, buffer, 0))).Trim();
    }

    private static string? Find(string runtime) => runtime.Contains('/', StringComparison.Ordinal)
        ? File.Exists(runtime) ? runtime : null
        : ShimLauncher.SearchPath.Split(':').Select(directory => Path.Join(directory, runtime)).FirstOrDefault(File.Exists);
}
