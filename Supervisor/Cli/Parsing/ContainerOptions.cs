using System.CommandLine;

namespace Supervisor.Cli.Parsing;

/// <summary>The options that run and create share: which container to make.</summary>
internal sealed class ContainerOptions
{
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
        Process.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetResult(Bundle) is null == result.GetResult(Rootfs) is null)
            {
                result.AddError("either --bundle or --rootfs is needed, to say what to run");
            }
        });
    }
}
