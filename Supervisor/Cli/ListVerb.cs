using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;

namespace Supervisor.Cli;

/// <summary><c>list</c>: all containers, one a line.</summary>
internal sealed class ListVerb : Verb
{
    private readonly Option<string[]> _owners = new("--owner")
    {
        Description = "Only containers with this value of the annotation containerd.io/owner. May be repeated",
        HelpName = "O",
        AllowMultipleArgumentsPerToken = false,
    };

    internal ListVerb(GlobalOptions globals, CliConsole console)
        : base("list", "List containers", globals, console)
    {
        Aliases.Add("ls");
        Examples =
        [
            new("supervisor list", "a table of all"),
            new("supervisor list --output json --owner me", "mine, for a program"),
        ];
        Options.Add(_owners);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var containers = await ContainersAsync(client, invocation.Parse.GetValue(_owners) ?? [], cancellationToken).ConfigureAwait(false);
        if (invocation.WantsJson)
        {
            invocation.Console.Out.WriteLine(Json.Array(containers));
            return ExitCodes.Success;
        }

        var table = Tables.WithColumns("ID", "STATUS", ">PID", "CREATED", "BUNDLE");
        foreach (var container in containers)
        {
            table.Row(container.Id, Describe.Status(container), Describe.Pid(container), Describe.Age(container.CreatedAt), container.Bundle);
        }

        invocation.Console.Print(table);
        return ExitCodes.Success;
    }

    private static async Task<IReadOnlyList<ContainerDetails>> ContainersAsync(SupervisorClient client, string[] owners, CancellationToken cancellationToken)
    {
        // The cheap answer, which asks no shim: a list must not wait for a container that hangs.
        var response = await client.Supervisor.InspectAsync(new InspectRequest { NoProcesses = true }, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        if (owners.Length == 0)
        {
            return response.Containers;
        }

        var request = new ListContainersRequest();
        request.Owner.Add(owners);
        var owned = await client.Execution.ListContainersAsync(request, SupervisorClient.Read(cancellationToken)).ConfigureAwait(false);
        var ids = owned.Containers.Select(container => container.Id).ToHashSet(StringComparer.Ordinal);
        return [.. response.Containers.Where(container => ids.Contains(container.Id))];
    }
}
