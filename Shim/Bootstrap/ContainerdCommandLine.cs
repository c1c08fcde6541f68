using Containerd;
using Microsoft.Win32.SafeHandles;
using Shim.Bootstrap.ShimV2;
using Shim.Interop;

namespace Shim.Bootstrap;

/// <summary>
/// The command line that containerd uses for runtime shims. Under the name containerd-shim-runc-v2-cs (the runtime io.containerd.runc.v2-cs) the task API is
/// served on ttrpc; under containerd-shim-runc_grpc-v2-cs (io.containerd.runc_grpc.v2-cs) on gRPC, which containerd takes from 2.0 on.
/// </summary>
internal static class ContainerdCommandLine
{
    private const string Prefix = "containerd-shim-";
    private const string GrpcMark = "_grpc-";
    private const int Failed = 1;
    private const int MaxInput = 4 * 1024 * 1024;

    /// <summary>Does what the arguments say and returns the exit code; serving never returns.</summary>
    /// <param name="name">What this program was called as.</param>
    /// <param name="args">What follows it.</param>
    internal static int Run(string name, IReadOnlyList<string> args)
    {
        try
        {
            var arguments = ShimArguments.Parse(args);
            var protocol = name.Contains(GrpcMark, StringComparison.Ordinal) ? "grpc" : "ttrpc";
            if (arguments.Version)
            {
                CommandLine.Print(1, $"{name}:\n  Version:  {Build.Version}\n");
                return 0;
            }

            if (arguments.Info)
            {
                Answer(InfoAction.Run(RuntimeName(name), ReadInput()));
                return 0;
            }

            switch (arguments.Action)
            {
                case "start":
                    Answer(StartAction.Run(arguments, protocol, StartRequest.Parse(ReadInput())));
                    return 0;
                case "delete":
                    Answer(DeleteAction.Run(arguments, message => CommandLine.Print(2, $"{name}: {message}\n")));
                    return 0;
                case "":
                    return ShimV2Server.Run(arguments, protocol);
                default:
                    throw new FormatException($"there is no action \"{arguments.Action}\": containerd calls start, delete, -v and -info");
            }
        }
        catch (Exception e) when (e is FormatException or IOException or InvalidDataException or UnauthorizedAccessException or InvalidOperationException
            or TaskException or System.Net.Sockets.SocketException)
        {
            CommandLine.Print(2, $"{name}: {e.Message}\n");
            return Failed;
        }
    }

    /// <summary>The name by which containerd knows the runtime: containerd-shim-runc-v2-cs is io.containerd.runc.v2-cs.</summary>
    private static string RuntimeName(string name) => name[Prefix.Length..].Split('-', 2) is [var runtime, var version]
        ? $"io.containerd.{runtime}.{version}"
        : $"io.containerd.{name[Prefix.Length..]}";

    private static byte[] ReadInput()
    {
        using var stdin = new SafeFileHandle(0, ownsHandle: false);
        using var input = new MemoryStream();
        var buffer = new byte[4096];
        for (int count; (count = Fd.Read(stdin, buffer)) > 0;)
        {
            input.Write(buffer, 0, count);
            if (input.Length > MaxInput)
            {
                throw new InvalidDataException($"stdin holds more than {MaxInput} bytes");
            }
        }

        return input.ToArray();
    }

    private static void Answer(byte[] bytes)
    {
        using var stdout = new SafeFileHandle(1, ownsHandle: false);
        Fd.WriteAll(stdout, bytes);
    }
}
