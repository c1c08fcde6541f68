using System.CommandLine;
using System.Text;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary>What may be said with every verb, before or after its name.</summary>
internal sealed class GlobalOptions
{
    internal const string DefaultSocket = "/run/supervisor/supervisor.sock";

    // sockaddr_un has 108 bytes, one of them for the NUL at the end.
    private const int LongestPath = 107;

    internal const string SocketVariable = "SUPERVISOR_SOCKET";

    internal Option<string?> Socket { get; } = new("--socket")
    {
        Description = $"The socket to talk to (for serve: to listen on). Default: ${SocketVariable}, else {DefaultSocket}",
        HelpName = "PATH",
        Recursive = true,
    };

    internal Option<OutputFormat> Output { get; } = new("--output")
    {
        Description = "table for people, json for programs (the API's messages; an array for lists, one object a line for streams)",
        HelpName = "table|json",
        Recursive = true,
        CustomParser = result =>
        {
            switch (result.Tokens.Count == 1 ? result.Tokens[0].Value : "")
            {
                case "table":
                    return OutputFormat.Table;
                case "json":
                    return OutputFormat.Json;
                default:
                    result.AddError("--output is table or json");
                    return default;
            }
        },
    };

    /// <summary>What to do when no supervisor listens on <paramref name="socket"/>.</summary>
    internal static string HowToServe(string socket) =>
        $"start the daemon with `supervisor serve{(socket == DefaultSocket ? "" : $" --socket {socket}")}`, "
        + $"or say where it listens with --socket or {SocketVariable}";

    /// <summary>The path as it is, when a socket can have it.</summary>
    internal static string Checked(string path) =>
        Encoding.UTF8.GetByteCount(path) <= LongestPath ? path : throw new CliException($"{path} is too long for a socket: the kernel takes {LongestPath} bytes");

    /// <summary>The supervisor's socket that a client verb talks to.</summary>
    internal string SocketOf(ParseResult parse)
    {
        var path = parse.GetValue(Socket) ?? Environment.GetEnvironmentVariable(SocketVariable);
        return string.IsNullOrEmpty(path) ? DefaultSocket : Path.GetFullPath(path);
    }
}
