using System.Text;
using Microsoft.Win32.SafeHandles;
using NUnit.Framework;
using Shim.Interop;
using Shim.Processes;

namespace Shim.Tests.Processes;

/// <summary>A child of the test process, started by the spawner or otherwise, and collected by its own pid.</summary>
internal static unsafe class ChildProgram
{
    private const int MaxOutput = 1024 * 1024;
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    internal static SafeFileHandle Null { get; } = Fd.Open("/dev/null", Libc.O_RDWR);

    /// <summary>Spawns what <paramref name="request"/> makes around a pipe for stdout; returns what the child printed and how it ended.</summary>
    internal static (string Output, ExitStatus Status) Run(Func<SafeFileHandle, SpawnRequest> request)
    {
        var (read, write) = Libc.Pipe();
        using (read)
        {
            int pid;
            using (write)
            {
                pid = Spawner.Spawn(request(write));
            }

            return (ReadToEnd(read, pid), Collect(pid));
        }
    }

    /// <summary>A request for a shell script.</summary>
    internal static SpawnRequest Shell(string script, SafeFileHandle stdout, params string[] arguments) =>
        Request("/bin/sh", ["sh", "-c", script, "sh", .. arguments], stdout);

    internal static SpawnRequest Request(string path, IReadOnlyList<string> arguments, SafeFileHandle? stdout = null) => new()
    {
        Path = path,
        Arguments = arguments,
        Environment = ["PATH=/usr/bin:/bin"],
        Stdin = Null,
        Stdout = stdout ?? Null,
        Stderr = Null,
    };

    /// <summary>The negative control: posix_spawn as anybody would call it, without attributes. Stdout is the only thing it sets.</summary>
    internal static string RunPlainly(string program, params string[] arguments)
    {
        var (read, write) = Libc.Pipe();
        using (read)
        {
            var actions = stackalloc byte[256];
            Assert.That(Libc.FileActionsInit(actions), Is.Zero);
            var strings = new[] { program }.Concat(arguments).Select(text => Encoding.UTF8.GetBytes(text + '\0')).ToArray();
            var pid = 0;
            using (write)
            {
                Assert.That(Libc.FileActionsAddDup2(actions, Fd.Number(write), 1), Is.Zero);
                var argv = stackalloc byte*[strings.Length + 1];
                var pins = strings.Select(text => new System.Buffers.MemoryHandle()).ToArray();
                for (var i = 0; i < strings.Length; i++)
                {
                    pins[i] = strings[i].AsMemory().Pin();
                    argv[i] = (byte*)pins[i].Pointer;
                }

                argv[strings.Length] = null;
                var noEnvironment = stackalloc byte*[1];
                noEnvironment[0] = null;
                var error = Libc.PosixSpawn(&pid, argv[0], actions, null, argv, noEnvironment);
                foreach (var pin in pins)
                {
                    pin.Dispose();
                }

                _ = Libc.FileActionsDestroy(actions);
                Assert.That(error, Is.Zero);
            }

            var output = ReadToEnd(read, pid);
            Collect(pid);
            return output;
        }
    }

    /// <summary>Waits for a child's end and takes its status; kills it when it does not end.</summary>
    internal static ExitStatus Collect(int pid)
    {
        using var process = PidFd.TryOpen(pid)!;
        var ended = process.WaitForExit((int)s_limit.TotalMilliseconds);
        if (!ended)
        {
            process.Signal(Libc.SIGKILL);
            process.WaitForExit((int)s_limit.TotalMilliseconds);
        }

        int status;
        Libc.ResourceUsage usage;
        Assert.That(Libc.Wait4(pid, &status, Libc.WNOHANG, &usage), Is.EqualTo(pid));
        Assert.That(ended, Is.True, $"child {pid} did not end in time and was killed");
        return ExitStatus.FromWaitStatus(status);
    }

    private static string ReadToEnd(SafeFileHandle pipe, int pid)
    {
        var bytes = new MemoryStream();
        var buffer = new byte[4096];
        var end = Environment.TickCount64 + (long)s_limit.TotalMilliseconds;
        while (bytes.Length < MaxOutput && Environment.TickCount64 < end)
        {
            var poll = new Libc.PollFd { Descriptor = Fd.Number(pipe), Events = Libc.POLLIN };
            if (Libc.Poll(&poll, 1, 100) != 1)
            {
                continue;
            }

            var count = Fd.Read(pipe, buffer);
            if (count <= 0)
            {
                return Encoding.UTF8.GetString(bytes.ToArray());
            }

            bytes.Write(buffer, 0, count);
        }

        _ = Libc.Kill(pid, Libc.SIGKILL);
        throw new AssertionException("the child did not close its output in time");
    }
}
