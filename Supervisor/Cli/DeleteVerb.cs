using System.CommandLine;
using Containerd.V1;
using Grpc.Core;
using Supervisor.Cli.Bundles;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;
using ContainerStatus = Containerd.V1.Status;

namespace Supervisor.Cli;

/// <summary><c>delete</c>: removes containers and what we made for them.</summary>
internal sealed class DeleteVerb : Verb
{
    private readonly Argument<string[]> _ids = new("ID") { Description = "The containers", HelpName = "ID", Arity = ArgumentArity.OneOrMore };
    private readonly Option<bool> _force = Values.Flag("--force", "-f", "Kill what still runs");

    internal DeleteVerb(GlobalOptions globals, CliConsole console)
        : base("delete", "Delete containers: runtime state, mounts, cgroups and files", globals, console)
    {
        Aliases.Add("rm");
        Examples =
        [
            new("supervisor delete web", "deletes a container that has ended, or was never started"),
            new("supervisor delete --force web db", "kills and deletes two"),
        ];
        Notes = ["Prints the id of each container that is deleted. The root file system and a bundle of your own stay; b/ID beside the socket goes."];
        Arguments.Add(_ids);
        Options.Add(_force);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        var force = invocation.Parse.GetValue(_force);
        using var client = invocation.Connect();
        var exitCode = ExitCodes.Success;
        foreach (var id in invocation.Parse.GetRequiredValue(_ids).Distinct())
        {
            try
            {
                await DeleteAsync(client, id, force, cancellationToken).ConfigureAwait(false);
                invocation.Console.Out.WriteLine(id);
            }
            catch (Exception e) when (e is RpcException or CliException && Report(e, invocation, $"{Name} {id}") is { } failed)
            {
                // The others are not to blame.
                exitCode = failed;
            }
        }

        return exitCode;
    }

    private static async Task DeleteAsync(SupervisorClient client, string id, bool force, CancellationToken cancellationToken)
    {
        if (!force)
        {
            // The API's delete kills what runs: the person has to have said so.
            if (await StatusAsync(client, id, cancellationToken).ConfigureAwait(false) is { } status and (ContainerStatus.Running or ContainerStatus.Paused))
            {
                throw new CliException($"container {id} is {Describe.Status(status)}", $"`supervisor delete --force {id}` kills and deletes it");
            }
        }

        await NewContainer.DeleteAsync(client, id, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Null for a container that the supervisor does not know: its delete says so, and clears away what we may have made for it.</summary>
    private static async Task<ContainerStatus?> StatusAsync(SupervisorClient client, string id, CancellationToken cancellationToken)
    {
        try
        {
            var response = await client.Execution.GetContainerAsync(new GetContainerRequest { Id = id }, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
            return response.Container.Status;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null;
        }
    }
}
