using System.Text.Json.Nodes;
using Shim.Bootstrap;
using Shim.Tests.Runtime;

namespace Shim.Tests.Processes;

/// <summary>The child process behind <see cref="Probe"/>: runs one probe and prints what it saw as one JSON object.</summary>
internal static class Probes
{
    internal static int Run(string name, string[] arguments)
    {
        try
        {
            var seen = name switch
            {
                "reap" => ReaperProbes.Reap(),
                "early" => ReaperProbes.Early(anticipate: true),
                "early-without-anticipation" => ReaperProbes.Early(anticipate: false),
                "subreaper-off" => ReaperProbes.Orphans(subreaper: false),
                "subreaper-on" => ReaperProbes.Orphans(subreaper: true),
                "sigchld-ignored" => ReaperProbes.IgnoredSigChld(arguments is ["default"]),
                "order" => ReaperProbes.Order(),
                "slow-handler" => ReaperProbes.SlowHandler(),
                "stranger" => ReaperProbes.Stranger(),
                "kill-group" => ReaperProbes.KillGroup(),
                "runtime" => RuntimeProbe.Run(arguments),
                "ttrpc-descriptors" => Transport.Ttrpc.TtrpcProbe.Descriptors(arguments[0]),
                _ => throw new ArgumentException($"there is no probe {name}"),
            };

            // Not the console class: it would install a handler for SIGCHLD, which is part of what is tested here.
            CommandLine.Print(1, seen.ToJsonString() + "\n");
            return 0;
        }
        catch (Exception e)
        {
            CommandLine.Print(2, $"{e}\n");
            return 1;
        }
    }

    /// <summary>Waits for something that happens on another thread.</summary>
    internal static bool Within(TimeSpan deadline, Func<bool> condition)
    {
        var end = Environment.TickCount64 + (long)deadline.TotalMilliseconds;
        while (!condition())
        {
            if (Environment.TickCount64 > end)
            {
                return false;
            }

            Thread.Sleep(2);
        }

        return true;
    }

    internal static JsonArray Array(IEnumerable<string> items) => [.. items.Select(item => (JsonNode)item)];
}
