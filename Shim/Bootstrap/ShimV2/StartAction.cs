using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Shim.Cgroups;
using Shim.Interop;
using Shim.Processes;
using Shim.Runtime;
using Shim.Transport.ShimV2;

namespace Shim.Bootstrap.ShimV2;

/// <summary>
/// <c>start</c>: finds the shim of the container's group, or starts one, and prints where it listens. containerd reads stdout and stderr to their end, so the
/// new shim gets neither.
/// </summary>
internal static class StartAction
{
    /// <summary>Does it in the working directory, which is the bundle. Throws with the reason; nothing is left then.</summary>
    /// <param name="arguments">The command line.</param>
    /// <param name="protocol">ttrpc or grpc.</param>
    /// <param name="request">What came on stdin.</param>
    /// <returns>The bytes for stdout.</returns>
    internal static byte[] Run(ShimArguments arguments, string protocol, StartRequest request)
    {
        var daemon = Daemon.From(arguments, request);
        var maxVersion = Environment.GetEnvironmentVariable("MAX_SHIM_VERSION");
        if (protocol == "grpc" && request.Parameters is null && maxVersion is null)
        {
            throw new InvalidDataException("this containerd (1.6 or older) speaks ttrpc with its shims: use the runtime io.containerd.runc.v2-cs");
        }

        var bundle = Directory.GetCurrentDirectory();
        var options = OptionsMessage.From(request.Options);
        var path = ShimSocket.PathOf(daemon.GrpcAddress, daemon.Namespace, Grouping.Of(bundle, daemon.Id), request.SocketDirectory);

        // First: a shim that was started and could not be named would be left for ever, a name without a shim goes with its bundle.
        var address = ShimSocket.AddressOf(path);
        WriteAddress(bundle, address);

        if (ShimSocket.Bind(path) is { } listener)
        {
            using (listener)
            {
                try
                {
                    Launch(arguments, daemon, bundle, path, listener, options);
                }
                catch
                {
                    File.Delete(path);
                    throw;
                }
            }
        }

        return new StartAnswer(address, protocol).ToBytes(request.Parameters is not null, maxVersion);
    }

    private static void Launch(ShimArguments arguments, Daemon daemon, string bundle, string path, SafeFileHandle listener, RuntimeOptions options)
    {
        var executable = File.ResolveLinkTarget("/proc/self/exe", returnFinalTarget: false)?.FullName ?? throw new InvalidOperationException("/proc/self/exe leads nowhere");
        using var nothing = Fd.Open("/dev/null", Libc.O_RDWR);
        using var log = OpenLog(bundle);
        List<string> commandLine =
        [
            // Under the name that containerd called us by, so that the child knows what it is.
            Environment.GetCommandLineArgs()[0], "-namespace", daemon.Namespace, "-id", daemon.Id, "-address", daemon.GrpcAddress, "-socket", path,
        ];
        if (arguments.Debug)
        {
            commandLine.Add("-debug");
        }

        var pid = Spawner.Spawn(new SpawnRequest
        {
            Path = executable,
            Arguments = commandLine,
            Environment = [.. ShimBirth.EnvironmentWith(SearchPath.Value), $"TTRPC_ADDRESS={daemon.TtrpcAddress}", $"GRPC_ADDRESS={daemon.GrpcAddress}"],
            WorkingDirectory = bundle,
            Stdin = nothing,
            Stdout = nothing,
            Stderr = log ?? nothing,
            ExtraDescriptors = [listener],
            BlockedSignals = ShimBirth.BlockedSignals,
            NewSession = true,
        });
        try
        {
            SetOomScore(pid);
            if (options.ShimCgroup.Length > 0 && !CgroupMounts.Read("").Enter(options.ShimCgroup, pid))
            {
                throw new InvalidDataException($"the cgroup {options.ShimCgroup} for the shim does not exist");
            }
        }
        catch
        {
            // Our child, which nobody else collects: the number is still its own.
            _ = PidFd.TryOpen(pid)?.Signal(Libc.SIGKILL);
            throw;
        }
    }

    /// <summary>containerd reads the shim's log from this FIFO in the bundle. Opened for both ways: it needs no reader, and never blocks.</summary>
    private static SafeFileHandle? OpenLog(string bundle)
    {
        var path = Path.Combine(bundle, "log");
        return Libc.KindOf(path, followLinks: false) == FileKind.Fifo ? Fd.Open(path, Libc.O_RDWR | Libc.O_NONBLOCK | Libc.O_NOFOLLOW) : null;
    }

    /// <summary>A shim is killed before its daemon when memory runs out, but not long before. Not allowed everywhere: then it stays as it is.</summary>
    private static void SetOomScore(int pid)
    {
        try
        {
            var parent = ProcFs.Parent(Environment.ProcessId);
            if (int.TryParse(ProcFs.Read($"/proc/{parent}/oom_score_adj"), NumberStyles.AllowLeadingSign | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out var score))
            {
                File.WriteAllText($"/proc/{pid}/oom_score_adj", Math.Min(score + 1, 1000).ToString(CultureInfo.InvariantCulture));
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Lowering it needs a capability.
        }
    }

    /// <summary>A daemon that was restarted finds the shim by this file. By rename: it is there whole or not at all.</summary>
    private static void WriteAddress(string bundle, string address)
    {
        var next = Path.Combine(bundle, ".address");
        File.WriteAllText(next, address);
        File.SetUnixFileMode(next, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Move(next, Path.Combine(bundle, "address"), overwrite: true);
    }
}
