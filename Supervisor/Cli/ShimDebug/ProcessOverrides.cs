using System.CommandLine;
using System.Globalization;
using Containerd.Shim.V1;

namespace Supervisor.Cli.ShimDebug;

/// <summary>What of the bundle's process an exec changes, by numbers only: a shim resolves no names.</summary>
internal sealed class ProcessOverrides
{
    internal Option<string[]> Environment { get; } = new("--env", "-e") { Description = "Set an environment variable. May be repeated", HelpName = "K=V", AllowMultipleArgumentsPerToken = false };

    internal Option<string?> WorkingDirectory { get; } = new("--cwd", "-w") { Description = "The directory to start in, inside the container", HelpName = "DIR" };

    internal Option<string?> User { get; } = new("--user", "-u") { Description = "Run as these numbers", HelpName = "UID[:GID]" };

    internal void AddTo(Command command)
    {
        command.Options.Add(Environment);
        command.Options.Add(WorkingDirectory);
        command.Options.Add(User);
        User.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && Parse(token.Value) is null)
            {
                result.AddError($"'{token.Value}' is not UID or UID:GID");
            }
        });
    }

    internal User? UserOf(ParseResult parse) => parse.GetValue(User) is { } text ? Parse(text) : null;

    private static User? Parse(string text)
    {
        var parts = text.Split(':');
        uint gid = 0;
        return parts.Length <= 2
            && uint.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var uid)
            && (parts.Length == 1 || uint.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out gid))
            ? new User { Uid = uid, Gid = gid }
            : null;
    }
}
