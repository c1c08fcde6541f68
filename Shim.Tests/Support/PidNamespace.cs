using System.Diagnostics;
using System.Globalization;
using NUnit.Framework;

namespace Shim.Tests.Support;

/// <summary>
/// A pid namespace with so few pids that they come round again within moments. Its first process is a shell that takes commands
/// from the test; that shell collects orphans as any init does. Everything in it ends with this object.
/// </summary>
public sealed class PidNamespace : IAsyncDisposable
{
    // The kernel gives 1 to 299 once only, so a hundred are left for the wheel to turn over.
    private const int PrivateLimit = 400;

    // Where the limit is the whole machine's, the test program and its own threads have to find room too.
    private const int SharedLimit = 1500;

    private const string GlobalLimit = "/proc/sys/kernel/pid_max";
    private const string EndOfAnswer = "<end of the answer>";
    private readonly Process _unshare;
    private readonly string? _limitBefore;

    private PidNamespace(Process unshare, string? limitBefore) => (_unshare, _limitBefore) = (unshare, limitBefore);

    /// <summary>The pid that its first process has on the machine.</summary>
    public int Init { get; private set; }

    /// <summary>Starts the namespace, and uses up the pids that come once only.</summary>
    public static async Task<PidNamespace> StartAsync()
    {
        var ownLimit = Environment.OSVersion.Version >= new Version(6, 14);
        Machine.Require(
            Environment.IsPrivilegedProcess && (ownLimit || Machine.IsVirtual),
            "a limit on pids for one namespace needs root and Linux 6.14 (scripts/test-vm.sh has a machine whose own limit may be changed)");
        var start = new ProcessStartInfo("unshare", ["--pid", "--fork", "--kill-child", "--mount-proc", "bash", "--noprofile", "--norc", "-s"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            WorkingDirectory = "/",
        };
        var unshare = Process.Start(start) ?? throw new InvalidOperationException("unshare does not start");
        var space = new PidNamespace(unshare, ownLimit ? null : (await File.ReadAllTextAsync(GlobalLimit)).Trim());
        try
        {
            Assert.That((await space.RunAsync("echo $$")).Trim(), Is.EqualTo("1"));
            space.Init = HostProcess.Children(unshare.Id).Single().Pid;
            var limit = ownLimit ? PrivateLimit : SharedLimit;
            await space.RunAsync($"echo {limit} >{GlobalLimit}; until /bin/true & [ $! -ge 300 ]; do :; done; wait");
            return space;
        }
        catch
        {
            await space.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a line of shell in its first process and returns what it printed. Processes that it leaves behind must not keep stdout.</summary>
    public async Task<string> RunAsync(string script)
    {
        await _unshare.StandardInput.WriteAsync($"{script}\necho '{EndOfAnswer}'\n");
        await _unshare.StandardInput.FlushAsync();
        var answer = new StringWriter();
        while (true)
        {
            var line = await _unshare.StandardOutput.ReadLineAsync().WithinAsync(Poll.Deadline, $"the end of `{script}`");
            switch (line)
            {
                case EndOfAnswer:
                    return answer.ToString();
                case null:
                    throw new AssertionException($"the pid namespace ended during `{script}`");
                default:
                    answer.Write(line + '\n');
                    break;
            }
        }
    }

    /// <summary>
    /// Starts strangers until one has got a pid that somebody else had, and leaves only that one: it sleeps for ever. To a glance at its
    /// command line it looks like <paramref name="name"/>.
    /// </summary>
    public async Task RecycleAsync(int pid, string name = "stranger") =>
        Assert.That(
            (await RunAsync(
                $"for i in {{1..5000}}; do (exec -a '{name}' sleep 1000000) </dev/null >/dev/null 2>&1 & "
                + $"if [ $! = {pid} ]; then echo got $!; break; fi; kill -KILL $!; wait $! 2>/dev/null; done")).Trim(),
            Is.EqualTo($"got {pid}"));

    /// <summary>Whether a process with this pid of the namespace runs, as opposed to having ended.</summary>
    public bool Runs(int pid) => Read(pid, "stat") is { Length: > 0 } stat && stat[stat.LastIndexOf(')') + 2] is not ('Z' or 'X');

    /// <summary>The command line of a process with this pid of the namespace; empty when there is none.</summary>
    public string CommandLine(int pid) => (Read(pid, "cmdline") ?? string.Empty).Replace('\0', ' ').TrimEnd();

    /// <summary>What makes a program run in this namespace when put before it.</summary>
    public IReadOnlyList<string> Enter => ["nsenter", "--target", Init.ToString(CultureInfo.InvariantCulture), "--pid", "--mount", "--wdns=/"];

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_limitBefore is not null)
        {
            await File.WriteAllTextAsync(GlobalLimit, _limitBefore);
        }

        // The death of unshare is that of its child, and with the first process all others of the namespace end.
        _unshare.Kill();
        await _unshare.WaitForExitAsync().WithinAsync(Poll.Deadline, "the end of the pid namespace");
        _unshare.Dispose();
        await Poll.Until(() => Init == 0 || !HostProcess.Runs(Init), Poll.Deadline, "the end of its first process");
    }

    // Its own /proc, seen through the root directory of its first process.
    private string? Read(int pid, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{Init}/root/proc/{pid}/{file}");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
