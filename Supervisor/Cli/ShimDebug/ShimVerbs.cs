using System.CommandLine;
using Supervisor.Cli.Output;

namespace Supervisor.Cli.ShimDebug;

/// <summary><c>shim</c>: verbs that talk to one shim directly, past the supervisor.</summary>
internal static class ShimVerbs
{
    internal static Command Build(GlobalOptions globals, CliConsole console)
    {
        var shim = new Command("shim", "Talk to one shim directly, for debugging (its socket: `supervisor inspect ID`, shim.socket)")
        {
            new ShimCreateVerb(globals, console),
            new ShimStartVerb(globals, console),
            new ShimExecVerb(globals, console),
            new ShimStateVerb(globals, console),
            new ShimEventsVerb(globals, console),
            new ShimKillVerb(globals, console),
            new ShimPtyVerb(globals, console),
            new ShimPauseVerb(globals, console),
            new ShimResumeVerb(globals, console),
            new ShimDeleteVerb(globals, console),
            new ShimWaitVerb(globals, console),
            new ShimDumpVerb(globals, console),
        };
        shim.SetAction(_ =>
        {
            HelpText.Write(console.Error, shim);
            return ExitCodes.Failure;
        });
        return shim;
    }
}
