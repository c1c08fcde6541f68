using System.CommandLine;

namespace Supervisor.Cli.Parsing;

/// <summary>The options that run and create share: which container to make.</summary>
internal sealed class ContainerOptions
{
    /// <summary>What to say for output that nobody wants.</summary>
    internal const string NoLog = "none";

    internal Option<string?> Bundle { get; } = new("--bundle", "-b")
    {
        Description = "A bundle: a directory with config.json and a root file system",
        HelpName = "DIR",
    };

    internal Option<string?> Rootfs { get; } = new("--rootfs")
    {
        Description = "A root directory alone; a config.json with Docker's defaults is made for it",
        HelpName = "DIR",
    };

    internal Option<string?> Log { get; } = new("--log")
    {
        Description = "Where the output of a detached container goes: log:///path?..., file:///path, binary:///path?..., or none. "
            + "Default: b/ID/output.log beside the socket, a log:// with 5 files of at most 20 MB",
        HelpName = "ADDRESS",
    };

    internal Option<string?> OnShimLoss { get; } = new("--on-shim-loss")
    {
        Description = "What becomes of the container when its shim is lost: it is killed (default), or a new shim takes it over",
        HelpName = "kill|adopt",
    };

    internal Argument<string> Id { get; } = Values.ContainerId("The new container's id: letters, digits, '_', '.' and '-'");

    internal Argument<string[]> Command { get; } = Values.Command(
        "The command in place of the bundle's (with --rootfs: in place of sh); everything after ID belongs to it",
        required: false);

    internal ProcessOptions Process { get; }

    internal ContainerOptions(string detachDescription, string interactiveDescription) =>
        Process = new ProcessOptions(detachDescription, interactiveDescription);

    internal void AddTo(Command command)
    {
        command.Arguments.Add(Id);
        command.Arguments.Add(Command);
        command.Options.Add(Bundle);
        command.Options.Add(Rootfs);
        command.Options.Add(Log);
        command.Options.Add(OnShimLoss);
        OnShimLoss.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && token.Value is not ("kill" or "adopt"))
            {
                result.AddError($"--on-shim-loss is kill or adopt, not '{token.Value}'");
            }
        });
        Process.AddTo(command);
        Log.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && token.Value != NoLog && !token.Value.StartsWith('/') && !token.Value.Contains("://", StringComparison.Ordinal))
            {
                result.AddError($"--log '{token.Value}' is neither {NoLog} nor an absolute path nor an address such as log:///var/log/web.log");
            }
        });
        command.Validators.Add(result =>
        {
            if (result.GetResult(Bundle) is null == result.GetResult(Rootfs) is null)
            {
                result.AddError("either --bundle or --rootfs is needed, to say what to run");
            }
        });
    }
}
