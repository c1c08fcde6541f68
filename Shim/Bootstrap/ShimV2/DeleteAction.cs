using Containerd;
using Containerd.TaskApi.V2;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Shim.Cgroups;
using Shim.Interop;
using Shim.Processes;
using Shim.Runtime;
using Shim.Tasks;
using Shim.Transport.ShimV2;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// <c>delete</c>: removes a container whose shim is gone, from what lies in its bundle alone, and prints how it ended: as the journal has it, or as the kernel
/// tells it, or 137 when it had to be killed now, or 255 when nobody knows.
/// </summary>
internal static class DeleteAction
{
    private static readonly TimeSpan s_killLimit = TimeSpan.FromSeconds(10);

    /// <summary>Does it and returns the bytes for stdout. Whatever is gone already is no error.</summary>
    internal static byte[] Run(ShimArguments arguments, Action<string> log)
    {
        // Before there is another thread that would take them.
        Signals.Block();
        var daemon = Daemon.From(arguments);
        var bundle = arguments.Bundle.Length > 0 ? Path.GetFullPath(arguments.Bundle) : Directory.GetCurrentDirectory();
        var options = RuntimeOptions.Read(bundle);
        var last = LastWords.Read(ContainerHomes.JournalOf(bundle), log);

        // Opened before anything is killed: what becomes of it is not lost then.
        using var init = last.InitPid > 0 ? AdoptedProcess.Open(last.InitPid, last.InitStartTime).Identity : null;
        var cgroup = init is not null ? Cgroup.Of(init.Pid) : null;
        var alive = init is { HasExited: false };
        if (alive)
        {
            _ = init!.Signal(Libc.SIGKILL);
        }

        cgroup?.KillAll();
        if (init is not null && !init.WaitForExit((int)s_killLimit.TotalMilliseconds))
        {
            log($"process {init.Pid} of container {daemon.Id} survives SIGKILL");
        }

        DeleteFromRuntime(daemon, options, log);
        cgroup?.KillAll();
        Rootfs.RootfsMounts.UnmountAll(Path.Combine(bundle, "rootfs"));
        RemoveSocket(bundle, log);
        var (status, time) = last.Exit is { } exit ? (exit.Status.Code, exit.Time)
            : init?.EndStatus is { } collected ? (collected.Code, DateTimeOffset.UtcNow)
            : (alive ? 128 + Libc.SIGKILL : ExitStatus.UnknownCode, DateTimeOffset.UtcNow);
        return new DeleteResponse { Pid = (uint)last.InitPid, ExitStatus = (uint)status, ExitedAt = Timestamp.FromDateTimeOffset(time) }.ToByteArray();
    }

    /// <summary>The shim is gone, and with it what others of its group would have used.</summary>
    private static void RemoveSocket(string bundle, Action<string> log)
    {
        try
        {
            var path = ShimSocket.PathOf(File.ReadAllText(Path.Combine(bundle, "address")));
            if (Path.IsPathFullyQualified(path))
            {
                ShimSocket.RemoveLeft(path);
            }
        }
        catch (FileNotFoundException)
        {
            // It was never started.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NativeException)
        {
            log(e.Message);
        }
    }

    private static void DeleteFromRuntime(Daemon daemon, RuntimeOptions options, Action<string> log)
    {
        var reaper = new Reaper(e => log(e.Message));
        reaper.Start();
        try
        {
            new OciRuntime(reaper, options.Binary, Path.Combine(options.Root, daemon.Namespace), options.SystemdCgroup)
                .RunAsync(RuntimeCommand.Delete(daemon.Id)).GetAwaiter().GetResult();
        }
        catch (TaskException e) when (e.Kind == ErrorKind.NotFound)
        {
            // It was never made, or removed before.
        }
        catch (TaskException e)
        {
            log(e.Message);
        }
    }

    /// <summary>What the journal says of the init.</summary>
    private sealed record LastWords(int InitPid, ulong InitStartTime, ExitRecord? Exit)
    {
        internal static LastWords Read(string path, Action<string> log)
        {
            var words = new LastWords(0, 0, null);
            if (!File.Exists(path))
            {
                return words;
            }

            foreach (var line in File.ReadLines(path))
            {
                var bytes = System.Text.Encoding.UTF8.GetBytes(line);
                if (TaskEventJson.TryRead(bytes, out var what))
                {
                    words = what switch
                    {
                        // One that is read back from a checkpoint has its pid from its start on.
                        { Type: TaskEventType.Create } or { Type: TaskEventType.Start, Init: true, Trace: not null } =>
                            new LastWords(what.Pid, what.Trace?.StartTime ?? 0, null),
                        { Type: TaskEventType.Exit, Init: true } => words with { Exit = what.Exit },
                        _ => words,
                    };
                }
                else if (!JournalHeader.TryRead(bytes, out _))
                {
                    // The shim died in the middle of it, or the disk is damaged: what can be read counts.
                    log($"{path}: not a line of a journal: {line[..Math.Min(line.Length, 80)]}");
                }
            }

            return words;
        }
    }
}
