using System.Globalization;
using Containerd.V1;

namespace Supervisor.Api;

/// <summary>One line for everything that runs, signals, listens to or removes a process in somebody's container.</summary>
/// <param name="Verb">What was asked for.</param>
/// <param name="ContainerId">Where.</param>
/// <param name="Detail">On what.</param>
internal sealed record Audit(string Verb, string ContainerId, string Detail)
{
    private const int MaxText = 128;

    /// <summary>What to record of a request; null for those that leave processes alone. Arguments may hold secrets: only the program is named.</summary>
    internal static Audit? Describe(object request) => request switch
    {
        StartProcessRequest r => Of("StartProcess", r.ContainerId, r.Process?.Args.FirstOrDefault() ?? "the bundle's program"),
        SignalProcessRequest r => Of("SignalProcess", r.ContainerId, $"pid {r.Pid} signal {r.Signal}"),
        AttachRequest r => Of("Attach", r.ContainerId, string.Create(CultureInfo.InvariantCulture, $"pid {r.Pid}{(r.Stdin.Length > 0 ? " with stdin" : "")}")),
        KillRequest r => Of("Kill", r.ContainerId, r.All ? $"all signal {r.Signal}" : $"pid {r.Pid} signal {r.Signal}"),
        DeleteProcessRequest r => Of("DeleteProcess", r.ContainerId, string.Create(CultureInfo.InvariantCulture, $"pid {r.Pid}")),
        DeleteContainerRequest r => Of("DeleteContainer", r.Id, "the container"),
        _ => null,
    };

    private static Audit Of(string verb, string containerId, string detail) => new(verb, Printable(containerId), Printable(detail));

    private static string Printable(string text) =>
        string.Concat(text.Take(MaxText).Select(character => char.IsControl(character) ? '?' : character));
}
