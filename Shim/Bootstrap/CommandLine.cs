using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Shim.Interop;

namespace Shim.Bootstrap;

/// <summary>
/// The shim's own command line. Parsed by hand: a parser package would cost every shim more memory than its few options are worth.
/// </summary>
internal static class CommandLine
{
    /// <summary>Exit code of a refusal to start, as everywhere in this project.</summary>
    internal const int Refused = 125;

    private const string Usage = """
        The shim of one container: runs the OCI runtime, owns the container's processes, and answers
        the gRPC service containerd.shim.v1.Shim. A supervisor starts it; by hand it is for debugging.

        usage: shim serve [options]
               shim --version | --help

          --socket PATH        listen on this unix socket (default: shim.sock in the working directory)
          --listen-fd N        serve this inherited listening socket instead
          --state DIR          directory for the journal and short-lived files (default: the working directory)
          --runtime R          name or path of the OCI runtime (default: runc)
          --runtime-root DIR   where the runtime keeps its state (default: the runtime's own)
          --drain-timeout S    seconds that a deletion waits for output that nobody has read (default: 5)
          --log-dir DIR        file:// and log:// outputs must lie in here; may be repeated
                               (default: anywhere, but no symbolic link is followed)
          --logger-dir DIR     binary:// loggers must lie in here; may be repeated
                               (default: the usual directories of programs)
          --debug              log more

        Talk to it with: supervisor shim --socket PATH <create|start|exec|state|events|kill|...>
        SIGTERM ends it in order: SIGTERM to the container, a few seconds, then SIGKILL; container removed.

        """;

    /// <summary>Does what the arguments say and returns the exit code; serving never returns.</summary>
    internal static int Run(IReadOnlyList<string> args)
    {
        if (args is ["--help" or "-h" or "help"] or ["serve", "--help" or "-h"])
        {
            Print(1, Usage);
            return 0;
        }

        if (args is ["--version" or "version"])
        {
            Print(1, $"shim {Build.Version}\n");
            return 0;
        }

        if (args.Count == 0 || args[0] != "serve")
        {
            Print(2, args.Count == 0 ? Usage : $"shim: there is no command \"{args[0]}\"; see shim --help\n");
            return Refused;
        }

        try
        {
            return Server.Run(Parse(args));
        }
        catch (Exception e) when (e is FormatException or IOException or InvalidDataException or UnauthorizedAccessException or InvalidOperationException or System.Net.Sockets.SocketException)
        {
            Print(2, $"shim: {e.Message}\n");
            return Refused;
        }
    }

    /// <summary>Reads the options of `serve`; FormatException names the one that is wrong.</summary>
    internal static ServeOptions Parse(IReadOnlyList<string> args)
    {
        var options = new ServeOptions();
        for (var i = 1; i < args.Count; i++)
        {
            var (name, value) = args[i].Split('=', 2) is [var left, var right] ? (left, right) : (args[i], null);
            options = name switch
            {
                "--socket" => options with { Socket = Value() },
                "--listen-fd" => options with { ListenFd = Descriptor(Value()) },
                "--state" => options with { StateDirectory = Value() },
                "--runtime" => options with { Runtime = Value() },
                "--runtime-root" => options with { RuntimeRoot = Value() },
                "--drain-timeout" => options with { DrainLimit = Seconds(Value()) },
                "--log-dir" => options with { LogDirectories = [.. options.LogDirectories, Directory(Value())] },
                "--logger-dir" => options with { LoggerDirectories = [.. options.LoggerDirectories, Directory(Value())] },
                "--debug" when value is null => options with { Debug = true },
                _ => throw new FormatException($"serve knows no option {args[i]}; see shim --help"),
            };

            string Value() => value ?? (++i < args.Count ? args[i] : throw new FormatException($"{name} needs a value"));
        }

        return options is { Socket: not null, ListenFd: not null }
            ? throw new FormatException("--socket and --listen-fd exclude each other")
            : options;

        static string Directory(string path) => path.StartsWith('/') ? path : throw new FormatException($"a directory is given by its absolute path, not \"{path}\"");

        static TimeSpan Seconds(string text) => double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds <= 3600
            ? TimeSpan.FromSeconds(seconds)
            : throw new FormatException($"--drain-timeout needs seconds from 0 to 3600, not \"{text}\"");

        static int Descriptor(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var fd) && fd > 2
            ? fd
            : throw new FormatException($"--listen-fd needs the number of a descriptor above 2, not \"{text}\"");
    }

    /// <summary>Writes to a standard descriptor without the console class, which would start a thread and catch signals.</summary>
    internal static void Print(int fd, string text)
    {
        using var handle = new SafeFileHandle(fd, ownsHandle: false);
        _ = Fd.Write(handle, Encoding.UTF8.GetBytes(text));
    }
}
