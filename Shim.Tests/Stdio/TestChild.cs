using System.Runtime.InteropServices;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Tests.Stdio;

/// <summary>A real process, started the way the shim starts the runtime.</summary>
internal sealed unsafe class TestChild : IDisposable
{
    private readonly PidFd _process;
    private int? _code;

    private TestChild(PidFd process) => _process = process;

    internal int Pid => _process.Pid;

    internal bool HasExited => _process.HasExited;

    internal static TestChild Start(string script, SafeHandle stdin, SafeHandle stdout, SafeHandle stderr, bool newSession = false)
    {
        var pid = Spawner.Spawn(new SpawnRequest
        {
            Path = "/bin/sh",
            Arguments = ["sh", "-c", script],
            Environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            Stdin = stdin,
            Stdout = stdout,
            Stderr = stderr,
            NewSession = newSession,
            NewProcessGroup = true,
        });
        return new TestChild(PidFd.TryOpen(pid)!);
    }

    /// <summary>Waits for the end and returns the exit code (128 + signal).</summary>
    internal int Wait(int milliseconds = 60_000)
    {
        Assert.That(_process.WaitForExit(milliseconds), Is.True, "the process did not end in time");
        if (_code is null)
        {
            int status;
            Assert.That(Libc.Wait4(Pid, &status, 0, null), Is.EqualTo(Pid));
            _code = ExitStatus.FromWaitStatus(status).Code;
        }

        return _code.Value;
    }

    internal void Kill() => _process.Signal(Libc.SIGKILL);

    public void Dispose()
    {
        // Its background children too.
        _ = Libc.Kill(-Pid, Libc.SIGKILL);
        if (_code is null)
        {
            Kill();
            Wait();
        }

        _process.Dispose();
    }
}
