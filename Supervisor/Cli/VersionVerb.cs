using System.CommandLine;
using System.CommandLine.Invocation;
using System.Reflection;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary><c>--version</c>: ours alone, without asking anybody.</summary>
internal sealed class VersionText(CliConsole console) : SynchronousCommandLineAction
{
    public override int Invoke(ParseResult parseResult)
    {
        console.Out.WriteLine($"supervisor {VersionVerb.Own}");
        return ExitCodes.Success;
    }
}

/// <summary><c>version</c>: ours, and the daemon's if it runs.</summary>
internal sealed class VersionVerb : Verb
{
    internal VersionVerb(GlobalOptions globals, CliConsole console)
        : base("version", "Show the version of this program and of the daemon, if it runs", globals, console) =>
        Examples = [new("supervisor version", "both should be the same after an upgrade")];

    /// <summary>This program's version.</summary>
    internal static string Own
    {
        get
        {
            // What follows a '+' is the commit, which the build may add.
            var version = typeof(VersionVerb).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion;
            return version?.Split('+')[0] ?? "unknown";
        }
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        string? daemon = null;
        try
        {
            daemon = (await client.Supervisor.InfoAsync(new InfoRequest(), SupervisorClient.Read(cancellationToken)).ConfigureAwait(false)).Version;
        }
        catch (RpcException e) when (Failures.ConnectError(e) is not null)
        {
            // A version is asked for before the daemon is ever started.
        }

        invocation.Console.Out.WriteLine(invocation.WantsJson
            ? $"{{ \"version\": \"{Own}\", \"daemon\": {(daemon is null ? "null" : $"\"{System.Text.Json.JsonEncodedText.Encode(daemon)}\"")} }}"
            : $"supervisor {Own}\ndaemon {daemon ?? "not running"}");
        return ExitCodes.Success;
    }
}
