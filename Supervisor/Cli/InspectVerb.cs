using System.CommandLine;
using Containerd.V1;
using Supervisor.Cli.Output;
using Supervisor.Cli.Parsing;

namespace Supervisor.Cli;

/// <summary><c>inspect</c>: everything about one container.</summary>
internal sealed class InspectVerb : Verb
{
    private readonly Argument<string> _id = Values.ContainerId();

    internal InspectVerb(GlobalOptions globals, CliConsole console)
        : base("inspect", "Show everything about a container: status, bundle, shim, processes with exit status, reason and times", globals, console)
    {
        Examples =
        [
            new("supervisor inspect web", "as indented JSON"),
            new("supervisor inspect --output table web", "in sections, to read"),
        ];
        Arguments.Add(_id);
    }

    protected override async Task<int> RunAsync(Invocation invocation, CancellationToken cancellationToken)
    {
        using var client = invocation.Connect();
        var container = await client.InspectAsync(invocation.Parse.GetRequiredValue(_id), processes: true, cancellationToken).ConfigureAwait(false);
        if (invocation.WantsJson || !invocation.OutputGiven)
        {
            invocation.Console.Out.WriteLine(Json.Pretty(container));
        }
        else
        {
            Print(invocation.Console, container);
        }

        return ExitCodes.Success;
    }

    private static void Print(CliConsole console, ContainerDetails container)
    {
        Tables.Print(console,
        [
            ("id", container.Id),
            ("status", Describe.Status(container)),
            ("pid", Describe.Pid(container)),
            ("created", Describe.Time(container.CreatedAt)),
            ("bundle", container.Bundle),
            ("owners", string.Join(", ", container.Owners)),
            ("terminal", container.Terminal ? "yes" : ""),
            ("stdin", container.Stdin),
            ("stdout", container.Stdout),
            ("stderr", container.Stderr),
            .. ExitPairs(container.Exit),
        ]);
        if (container.Shim is { } shim)
        {
            console.Out.WriteLine("shim:");
            Tables.Print(console,
            [
                ("pid", Describe.Number(shim.Pid)),
                ("socket", shim.Socket),
                ("state", shim.StateDirectory),
                ("trouble", shim.Trouble),
            ], indent: 2);
        }

        foreach (var process in container.Processes)
        {
            console.Out.WriteLine($"process {process.Pid}:");
            Tables.Print(console,
            [
                ("kind", process.Init ? "init" : process.Managed ? "exec" : "other"),
                ("status", Describe.Status(process.Status)),
                ("command", Tables.CommandLine(process.Args)),
                ("cwd", process.Cwd),
                ("user", Describe.User(process.User)),
                ("terminal", process.Terminal ? "yes" : ""),
                ("created", Describe.Time(process.CreatedAt)),
                ("started", Describe.Time(process.StartedAt)),
                .. ExitPairs(process.Exit),
            ], indent: 2);
        }
    }

    private static (string Name, string Value)[] ExitPairs(Exit? exit) => exit is null ? [] :
    [
        ("exit", Describe.Exit(exit)),
        ("ended", Describe.Time(exit.Time)),
        ("message", exit.Message),
        ("cpu", $"{exit.UserCpuUs / 1000} ms user, {exit.SystemCpuUs / 1000} ms system"),
        ("peak memory", Tables.Bytes(exit.MaxRssKib * 1024)),
    ];
}
