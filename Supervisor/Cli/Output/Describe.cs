using System.Globalization;
using Containerd.V1;
using Google.Protobuf.WellKnownTypes;
using Supervisor.Cli.Parsing;
using ContainerStatus = Containerd.V1.Status;

namespace Supervisor.Cli.Output;

/// <summary>What the messages say, in words and numbers for people.</summary>
internal static class Describe
{
    /// <summary>"running", "stopped (137, SIGKILL)", with the shim's trouble if it has any.</summary>
    internal static string Status(ContainerDetails container)
    {
        var text = Status(container.Status);
        if (container.Exit is { } exit)
        {
            text += $" ({Exit(exit)})";
        }

        return container.Shim is { Trouble.Length: > 0 } shim ? $"{text}, shim {shim.Trouble}" : text;
    }

    internal static string Status(ContainerStatus status) => status switch
    {
        ContainerStatus.Created => "created",
        ContainerStatus.Running => "running",
        ContainerStatus.Stopped => "stopped",
        ContainerStatus.Paused => "paused",
        _ => Number((int)status),
    };

    /// <summary>The status a process ended with and, unless it ended by itself, why: "3", "137, SIGKILL", "137, out of memory".</summary>
    internal static string Exit(Exit exit) => exit.Reason switch
    {
        ExitReason.Signaled => $"{Number(exit.Status)}, {SignalNames.Format(exit.Signal)}{(exit.CoreDumped ? ", core dumped" : "")}",
        ExitReason.OomKilled => $"{Number(exit.Status)}, out of memory",
        ExitReason.RuntimeError => $"{Number(exit.Status)}, runtime error",
        ExitReason.ShimLost => $"{Number(exit.Status)}, shim lost",
        ExitReason.Unknown => $"{Number(exit.Status)}, status unknown",
        _ => Number(exit.Status),
    };

    /// <summary>The init process's host pid, or nothing when it has ended.</summary>
    internal static string Pid(ContainerDetails container) => container.Pid == 0 || container.Status == ContainerStatus.Stopped ? "-" : Number(container.Pid);

    /// <summary>How long ago.</summary>
    internal static string Age(Timestamp? time) => time is null ? "-" : Tables.Age(DateTime.UtcNow - time.ToDateTime());

    /// <summary>When, to the millisecond, in UTC as everything here.</summary>
    internal static string Time(Timestamp? time) =>
        time?.ToDateTime().ToString("yyyy-MM-dd HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture) ?? "";

    /// <summary>"uid:gid".</summary>
    internal static string User(User? user) => user is null ? "-" : string.Create(CultureInfo.InvariantCulture, $"{user.Uid}:{user.Gid}");

    internal static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    internal static string Number(ulong number) => number.ToString(CultureInfo.InvariantCulture);
}
