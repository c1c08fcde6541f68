namespace Shim.Bootstrap;

/// <summary>The command line that containerd uses for runtime shims (start, delete, -v).</summary>
internal static class ContainerdCommandLine
{
    /// <summary>Answers -v; everything else is refused, because this version serves a supervisor only.</summary>
    internal static int Run(IReadOnlyList<string> args)
    {
        if (args is ["-v"])
        {
            CommandLine.Print(1, $"containerd-shim-runc-v2-cs:\n  Version:  {CommandLine.Version}\n");
            return 0;
        }

        CommandLine.Print(2, $"containerd-shim-runc-v2-cs {CommandLine.Version}: this version cannot be driven by containerd, only by its own supervisor\n");
        return CommandLine.Refused;
    }
}
