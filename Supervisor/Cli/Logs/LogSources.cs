using Containerd.V1;

namespace Supervisor.Cli.Logs;

/// <summary>What a person wants to see of a container's output.</summary>
/// <param name="Follow">And what is written from now on.</param>
/// <param name="Lines">Only the last lines; null is all.</param>
/// <param name="Until">Only lines that began before; for finding the last ones.</param>
internal sealed record LogChoice(bool Follow = false, long? Lines = null, long? Until = null);

/// <summary>Something that prints a part of a container's output.</summary>
internal interface ILogSource : IDisposable
{
    /// <summary>Prints what there is now, in order. False when there was nothing.</summary>
    public bool Pump(LogPrinter printer);

    /// <summary>Whether process <paramref name="pid"/> may still add something.</summary>
    public bool IsOpenIn(uint pid);
}

/// <summary>Makes the sources of a container's output from its addresses.</summary>
internal static class LogSources
{
    /// <summary>Opens what can be read; says why when that is nothing.</summary>
    /// <param name="container">Whose output it is.</param>
    /// <param name="choice">What is wanted.</param>
    /// <param name="needsTimes">Whether the times of lines matter, which plain files do not have.</param>
    /// <param name="warn">Told what a person should know.</param>
    internal static List<ILogSource> Open(ContainerDetails container, LogChoice choice, bool needsTimes, Action<string> warn)
    {
        var outputs = Outputs(container);
        var readable = outputs.FindAll(output => output.Address.Kind is OutputKind.File or OutputKind.Log);
        if (readable.Count == 0)
        {
            throw Unreadable(container, outputs[0].Address);
        }

        if (needsTimes && readable.Find(output => output.Address.Kind == OutputKind.File) is { Address: not null } plain)
        {
            throw new CliException(
                $"{plain.Address.Path} is a plain file: its lines have no times",
                "leave out --since, --until and --timestamps; for a log with times start the container with a log:// address");
        }

        foreach (var (stream, address) in outputs.Except(readable).Where(output => output.Address.Kind != OutputKind.None))
        {
            warn($"{stream.ToString().ToLowerInvariant()} is not shown: {Description(address)}");
        }

        var sources = new List<ILogSource>();
        var logs = readable.FindAll(output => output.Address.Kind == OutputKind.Log);
        try
        {
            if (logs.Count > 0)
            {
                sources.Add(RecordSource.Open([.. logs.Select(output => output.Address)], choice, warn));
            }

            sources.AddRange(readable.Except(logs).Select(output => RawSource.Open(output.Address.Path, output.Stream, choice, warn)));
            return sources;
        }
        catch
        {
            sources.ForEach(source => source.Dispose());
            throw;
        }
    }

    /// <summary>The addresses of both outputs; one, if both go to the same place.</summary>
    private static List<(LogStream Stream, OutputAddress Address)> Outputs(ContainerDetails container)
    {
        List<(LogStream, OutputAddress)> outputs = [(LogStream.Stdout, OutputAddress.Parse(container.Stdout))];
        if (!container.Terminal && container.Stderr != container.Stdout && OutputAddress.Parse(container.Stderr) is var stderr && stderr.Path != outputs[0].Item2.Path)
        {
            outputs.Add((LogStream.Stderr, stderr));
        }

        return outputs;
    }

    private static CliException Unreadable(ContainerDetails container, OutputAddress stdout) => new(
        $"the output of container {container.Id} is in no file: {Description(stdout)}",
        container.Terminal || stdout.Kind == OutputKind.Logger ? $"`supervisor attach {container.Id}` shows what comes from now on"
            : "`supervisor run -d` and `supervisor create` keep a log");

    private static string Description(OutputAddress address) => address.Kind switch
    {
        OutputKind.Fifo => $"whoever reads the FIFO {address.Path} gets it",
        OutputKind.Logger => $"the logger {address.Path} gets it",
        _ => "it is dropped",
    };
}
